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
/// Letters in a line of the first column, before it is broken.
const LINE: usize = 48;
/// Where the columns of numbers end.
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

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("the PDF could not be written: {0}")]
pub struct PdfError(String);

/// An invoice as a PDF file.
///
/// # Errors
/// Where the library cannot write what it was given.
pub fn render(invoice: &Invoice, lines: &[Line], issuer: &str) -> Result<Vec<u8>, PdfError> {
    let font = |bytes: &'static [u8]| Font::new(bytes.to_vec().into(), 0).ok_or_else(|| PdfError("a font".into()));
    let (regular, bold) = (font(REGULAR)?, font(BOLD)?);
    let mut document = Document::new();
    document.set_metadata(Metadata::new().title(format!("Invoice {}", invoice.number)).language("en".into()));
    for marks in layout(invoice, lines, issuer) {
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

/// A page under way.
struct Sheet {
    pages: Vec<Vec<Mark>>,
    y: f32,
}

impl Sheet {
    fn put(&mut self, x: f32, size: f32, is_bold: bool, text: impl Into<String>) {
        let (y, text) = (self.y, text.into());
        if let Some(page) = self.pages.last_mut() {
            page.push(Mark { x, y, size, is_bold, text });
        }
    }

    /// A number that ends at `end`.
    fn number(&mut self, end: f32, is_bold: bool, text: &str) {
        self.put(end - width(text, is_bold), TEXT, is_bold, text);
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
        for line in broken(value, LINE + 12) {
            self.put(LEFT + 110.0, TEXT, false, line);
            self.down(LEADING);
        }
    }
}

/// What digits and their separators take, in thousandths of the size: all digits of the font are alike.
fn width(number: &str, is_bold: bool) -> f32 {
    let (digit, separator, sign) = if is_bold { (696_u16, 380, 415) } else { (636, 318, 361) };
    let widths = number.chars().map(|letter| match letter {
        '.' | ',' => separator,
        '-' => sign,
        _ => digit,
    });
    f32::from(widths.sum::<u16>()) / 1000.0 * TEXT
}

/// A text in lines of at most `most` letters, broken between words where there are any.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        for piece in word.chars().collect::<Vec<_>>().chunks(most) {
            let piece: String = piece.iter().collect();
            let line = lines.last().map_or(0, |line| line.chars().count());
            if line > 0 && line + 1 + piece.chars().count() > most {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&piece);
            }
        }
    }
    lines
}

fn layout(invoice: &Invoice, lines: &[Line], issuer: &str) -> Vec<Vec<Mark>> {
    let day = |at: chrono::DateTime<chrono::Utc>| at.format("%-d %B %Y").to_string();
    let number = |amount: i64| Money { amount, currency: invoice.currency.clone() }.number();
    let mut sheet = Sheet { pages: vec![Vec::new()], y: TOP };
    sheet.put(LEFT, TEXT, true, issuer);
    sheet.down(40.0);
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
    sheet.put(QUANTITY - 52.0, TEXT, true, "How many");
    sheet.put(EACH - 28.0, TEXT, true, "Each");
    sheet.put(RIGHT - 74.0, TEXT, true, format!("Amount {}", invoice.currency));
    sheet.down(LEADING + 4.0);
    for line in lines {
        sheet.number(QUANTITY, false, &line.quantity.to_string());
        sheet.number(EACH, false, &number(line.unit_amount));
        sheet.number(RIGHT, false, &number(line.amount));
        for text in broken(&line.description, LINE) {
            sheet.put(LEFT, TEXT, false, text);
            sheet.down(LEADING);
        }
    }
    sheet.down(8.0);
    sheet.put(LEFT, TEXT, true, "Total");
    sheet.number(RIGHT, true, &number(invoice.total));
    if invoice.status == "open" && invoice.issuer == "tenantry" {
        sheet.down(34.0);
        sheet.put(LEFT, TEXT, false, "Please transfer the amount with the invoice’s number as its purpose.");
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

    #[test]
    fn a_file_is_a_pdf_whatever_the_names_are_written_in() {
        let file = render(&invoice(), &[line("Growth, one month")], "Tenantry").expect("renders");
        assert!(file.starts_with(b"%PDF-") && file.ends_with(b"%%EOF"), "{} bytes", file.len());
        assert!(file.len() < 100_000, "only the letters that are used: {} bytes", file.len());
    }

    #[test]
    fn everything_is_on_the_sheet_and_within_it() {
        let lines: Vec<_> = (0..80).map(|n| line(&format!("Line {n} {}", "and more ".repeat(12)))).collect();
        let pages = layout(&invoice(), &lines, "Tenantry");
        assert!(pages.len() > 2, "many lines take several pages");
        let marks: Vec<_> = pages.iter().flatten().collect();
        for text in [
            "Invoice INV-2026-000001",
            "1 Main Street",
            "London",
            "GB 123",
            "12,345.67",
            "Line 79 and more and more and more and more and",
        ] {
            assert!(marks.iter().any(|mark| mark.text == text), "{text}");
        }
        assert!(marks.iter().all(|mark| (LEFT..RIGHT).contains(&mark.x) && (TOP..=BOTTOM).contains(&mark.y)));
    }

    #[test]
    fn numbers_end_where_their_column_does() {
        assert!((width("79.00", false) - (4.0 * 6.36 + 3.18)).abs() < 0.01);
        assert!((width("-1,234.50", true) - (6.0 * 6.96 + 2.0 * 3.8 + 4.15)).abs() < 0.01);
    }

    #[test]
    fn long_words_are_broken_and_nothing_is_lost() {
        assert_eq!(broken("one two three", 8), ["one two", "three"]);
        assert_eq!(broken(&"x".repeat(20), 8), ["xxxxxxxx", "xxxxxxxx", "xxxx"]);
        assert_eq!(broken("", 8), [""]);
    }
}
