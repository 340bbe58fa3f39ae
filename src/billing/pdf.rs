//! Invoices as PDF, to send on and to file.
//!
//! The fonts (`DejaVu`, which has Latin, Greek, Cyrillic and more) are in the binary, and only what is used of them goes into a file.

use krilla::{
    Document,
    geom::Point,
    metadata::Metadata,
    page::PageSettings,
    text::{Font, TextDirection},
};

use rustybuzz::{Face, UnicodeBuffer};

use super::invoices::{Invoice, Line};
use crate::plans::Money;

const REGULAR: &[u8] = include_bytes!("fonts/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("fonts/DejaVuSans-Bold.ttf");

/// A4, in points.
const PAGE: (f32, f32) = (595.0, 842.0);
const LEFT: f32 = 56.0;
const RIGHT: f32 = PAGE.0 - 56.0;
const TOP: f32 = 72.0;
const BOTTOM: f32 = PAGE.1 - 72.0;
const TEXT: f32 = 10.0;
const LEADING: f32 = 15.0;
/// Where what is said of a fact begins.
const VALUE: f32 = LEFT + 110.0;
/// Where the first column ends, and the columns of numbers do.
const WHAT: f32 = 306.0;
const QUANTITY: f32 = 370.0;
const EACH: f32 = 455.0;

/// A piece of text and where its line begins.
#[derive(Clone, Debug, PartialEq)]
struct Mark {
    x: f32,
    y: f32,
    size: f32,
    is_bold: bool,
    text: String,
}

/// What is printed on every invoice, line by line.
#[derive(Clone, Copy, Debug)]
pub struct Letterhead<'a> {
    /// Who issues it.
    pub issuer: &'a [String],
    /// Where a bank transfer goes.
    pub bank_details: &'a [String],
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("the PDF could not be written: {0}")]
pub struct PdfError(String);

/// An invoice as a PDF file.
///
/// # Errors
/// Where the library cannot write what it was given.
pub fn render(invoice: &Invoice, lines: &[Line], head: Letterhead<'_>) -> Result<Vec<u8>, PdfError> {
    let font = |bytes: &'static [u8]| Font::new(bytes.to_vec().into(), 0).ok_or_else(|| PdfError("a font".into()));
    let (regular, bold) = (font(REGULAR)?, font(BOLD)?);
    let mut document = Document::new();
    document.set_metadata(Metadata::new().title(format!("Invoice {}", invoice.number)).language("en".into()));
    let fonts = Fonts::read().ok_or_else(|| PdfError("a font".into()))?;
    for marks in layout(&fonts, invoice, lines, head) {
        let size = PageSettings::from_wh(PAGE.0, PAGE.1).ok_or_else(|| PdfError("a page".into()))?;
        let mut page = document.start_page_with(size);
        let mut surface = page.surface();
        for mark in marks {
            let font = if mark.is_bold { &bold } else { &regular };
            let at = Point::from_xy(mark.x, mark.y);
            surface.draw_text(at, font.clone(), mark.size, &mark.text, false, TextDirection::Auto);
        }
        surface.finish();
        page.finish();
    }
    document.finish().map_err(|error| PdfError(format!("{error:?}")))
}

/// The fonts, to measure by.
struct Fonts {
    regular: Face<'static>,
    bold: Face<'static>,
}

impl Fonts {
    fn read() -> Option<Self> {
        Some(Self { regular: Face::from_slice(REGULAR, 0)?, bold: Face::from_slice(BOLD, 0)? })
    }

    /// What a text takes in its line, shaped as it is drawn.
    fn width(&self, text: &str, size: f32, is_bold: bool) -> f32 {
        let face = if is_bold { &self.bold } else { &self.regular };
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        let shaped = rustybuzz::shape(face, &[], buffer);
        // No line is so long that its units could not be told exactly.
        #[expect(clippy::cast_precision_loss)]
        let units = |units: i32| units as f32;
        let advance = shaped.glyph_positions().iter().map(|glyph| glyph.x_advance).sum();
        units(advance) / units(face.units_per_em()) * size
    }

    /// A text in lines of at most `most` points, broken between words where there are any, and within a word that is longer.
    fn broken(&self, text: &str, most: f32, is_bold: bool) -> Vec<String> {
        let fits = |text: &str| self.width(text, TEXT, is_bold) <= most;
        let mut lines = vec![];
        let mut line = String::new();
        for word in text.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if fits(&longer) {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for letter in word.chars() {
                line.push(letter);
                if !fits(&line) && line.chars().count() > 1 {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, letter.into()));
                }
            }
        }
        lines.push(line);
        lines
    }
}

/// A page under way.
struct Sheet<'a> {
    fonts: &'a Fonts,
    pages: Vec<Vec<Mark>>,
    y: f32,
}

impl Sheet<'_> {
    fn put(&mut self, x: f32, size: f32, is_bold: bool, text: impl Into<String>) {
        let (y, text) = (self.y, text.into());
        if let Some(page) = self.pages.last_mut() {
            page.push(Mark { x, y, size, is_bold, text });
        }
    }

    /// What ends at `end`: numbers and their headings.
    fn ending(&mut self, end: f32, is_bold: bool, text: &str) {
        self.put(end - self.fonts.width(text, TEXT, is_bold), TEXT, is_bold, text);
    }

    /// A text from `x` to `end`, in as many lines as it takes.
    fn text(&mut self, (x, end): (f32, f32), is_bold: bool, text: &str) {
        for line in self.fonts.broken(text, end - x, is_bold) {
            self.put(x, TEXT, is_bold, line);
            self.down(LEADING);
        }
    }

    fn down(&mut self, by: f32) {
        self.y += by;
        if self.y > BOTTOM {
            self.pages.push(Vec::new());
            self.y = TOP;
        }
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.put(LEFT, TEXT, false, name);
        self.text((VALUE, RIGHT), false, value);
    }
}

fn layout(fonts: &Fonts, invoice: &Invoice, lines: &[Line], head: Letterhead<'_>) -> Vec<Vec<Mark>> {
    let day = |at: chrono::DateTime<chrono::Utc>| at.format("%-d %B %Y").to_string();
    let number = |amount: i64| Money { amount, currency: invoice.currency.clone() }.number();
    let mut sheet = Sheet { fonts, pages: vec![Vec::new()], y: TOP };
    for (at, line) in head.issuer.iter().enumerate() {
        sheet.text((LEFT, RIGHT), at == 0, line);
    }
    sheet.down(25.0);
    sheet.put(LEFT, 20.0, true, format!("Invoice {}", invoice.number));
    sheet.down(34.0);
    sheet.fact("Billed to", &invoice.billing_name);
    for line in invoice.address_lines() {
        sheet.fact("", &line);
    }
    sheet.fact("", &invoice.billing_email);
    sheet.down(6.0);
    sheet.fact("Issued", &day(invoice.issued_at));
    match (invoice.status.as_str(), invoice.paid_at) {
        ("paid", Some(paid_at)) => sheet.fact("Paid", &day(paid_at)),
        ("void", _) => sheet.fact("Void", "Nothing is to be paid."),
        _ => sheet.fact("To be paid until", &day(invoice.due_at)),
    }
    if let Some(start) = invoice.period_start {
        let end = invoice.period_end.map(|end| format!(" to {}", day(end)));
        sheet.fact("For", &format!("{}{}", day(start), end.unwrap_or_default()));
    }
    sheet.down(20.0);
    sheet.put(LEFT, TEXT, true, "What");
    sheet.ending(QUANTITY, true, "How many");
    sheet.ending(EACH, true, "Each");
    sheet.ending(RIGHT, true, &format!("Amount {}", invoice.currency));
    sheet.down(LEADING + 4.0);
    for line in lines {
        sheet.ending(QUANTITY, false, &line.quantity.to_string());
        sheet.ending(EACH, false, &number(line.unit_amount));
        sheet.ending(RIGHT, false, &number(line.amount));
        sheet.text((LEFT, WHAT), false, &line.description);
    }
    sheet.down(8.0);
    sheet.put(LEFT, TEXT, true, "Total");
    sheet.ending(RIGHT, true, &number(invoice.total));
    if invoice.status == "open" && invoice.issuer == "tenantry" {
        sheet.down(34.0);
        sheet.text((LEFT, RIGHT), false, "Please transfer the amount with the invoice’s number as its purpose.");
        sheet.down(4.0);
        for line in head.bank_details {
            sheet.text((LEFT, RIGHT), false, line);
        }
    }
    sheet.pages
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn invoice() -> Invoice {
        Invoice {
            id: Uuid::nil(),
            tenant_id: Uuid::nil(),
            number: "INV-2026-000001".into(),
            status: "open".into(),
            currency: "USD".into(),
            total: 1_234_567,
            billing_name: "Παράδειγμα ООО & Söhne".into(),
            billing_email: "books@example.com".into(),
            billing_address: Some(
                json!({"city": "London", "line1": "1 Main Street", "vat": "GB 123", "nothing": null}),
            ),
            issued_at: DateTime::UNIX_EPOCH,
            due_at: DateTime::UNIX_EPOCH,
            paid_at: None,
            external_payment_id: None,
            issuer: "tenantry".into(),
            hosted_url: None,
            period_start: None,
            period_end: None,
        }
    }

    fn line(description: &str) -> Line {
        Line { description: description.into(), quantity: 1, unit_amount: 7_900, amount: 7_900 }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_file_is_a_pdf_whatever_the_names_are_written_in() {
        let issuer = lines(&["Tenantry", "Straße 1", "مثال שלום"]);
        let head = Letterhead { issuer: &issuer, bank_details: &issuer };
        let file = render(&invoice(), &[line("Growth, one month")], head).expect("renders");
        assert!(file.starts_with(b"%PDF-") && file.ends_with(b"%%EOF"), "{} bytes", file.len());
        assert!(file.len() < 100_000, "only the letters that are used: {} bytes", file.len());
    }

    #[test]
    fn everything_is_on_the_sheet_and_within_it() {
        let fonts = Fonts::read().expect("the fonts");
        let wide = "W".repeat(200);
        let bought: Vec<_> = (0..80).map(|n| line(&format!("Line {n} {} {wide}", "and more ".repeat(12)))).collect();
        let mut invoice = invoice();
        invoice.billing_name = format!("{wide} & Söhne");
        invoice.billing_email = format!("{}@example.com", "mmmmmmmm.".repeat(20));
        let issuer = lines(&["Example Company", &wide]);
        let bank_details = lines(&["IBAN: XX00 0000", &wide]);
        let head = Letterhead { issuer: &issuer, bank_details: &bank_details };
        let pages = layout(&fonts, &invoice, &bought, head);
        assert!(pages.len() > 2, "many lines take several pages");
        let marks: Vec<_> = pages.iter().flatten().collect();
        for text in [
            "Example Company",
            "Invoice INV-2026-000001",
            "1 Main Street",
            "London",
            "GB 123",
            "12,345.67",
            "IBAN: XX00 0000",
        ] {
            assert!(marks.iter().any(|mark| mark.text == text), "{text}");
        }
        for mark in &marks {
            let end = mark.x + fonts.width(&mark.text, mark.size, mark.is_bold);
            assert!(LEFT <= mark.x && end <= RIGHT + 0.01 && (TOP..=BOTTOM).contains(&mark.y), "{mark:?} to {end}");
            let next = marks.iter().filter(|next| next.y.to_bits() == mark.y.to_bits() && next.x > mark.x);
            let is_page = |page: &&Vec<Mark>| page.iter().any(|other| std::ptr::eq(other, *mark));
            let page = pages.iter().find(is_page).expect("on a page");
            let mut next = next.filter(|next| page.iter().any(|other| std::ptr::eq(other, **next)));
            assert!(next.all(|next| end <= next.x), "{mark:?} runs into what is beside it");
        }
    }

    #[test]
    fn numbers_end_where_their_column_does() {
        let fonts = Fonts::read().expect("the fonts");
        assert!((fonts.width("79.00", TEXT, false) - (4.0 * 6.36 + 3.18)).abs() < 0.05);
        assert!((fonts.width("-1,234.50", TEXT, true) - (6.0 * 6.96 + 2.0 * 3.8 + 4.15)).abs() < 0.05);
    }

    #[test]
    fn long_words_are_broken_and_nothing_is_lost() {
        let fonts = Fonts::read().expect("the fonts");
        let eight = fonts.width("xxxxxxxx", TEXT, false) + 0.01;
        assert_eq!(fonts.broken("one two three", eight, false), ["one two", "three"]);
        assert_eq!(fonts.broken(&"x".repeat(20), eight, false), ["xxxxxxxx", "xxxxxxxx", "xxxx"]);
        assert_eq!(fonts.broken(&format!("a {}", "x".repeat(9)), eight, false), ["a", "xxxxxxxx", "x"]);
        assert_eq!(fonts.broken("", eight, false), [""]);
    }
}
