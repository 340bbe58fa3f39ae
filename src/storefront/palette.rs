//! A tenant's colours as a stylesheet, readable whatever it chose.

use crate::tenants::Branding;

const PRIMARY: Rgb = Rgb(0x14, 0x57, 0x3c);
/// Black and white together leave no colour on which neither can be read.
const DARK: Rgb = Rgb(0x00, 0x00, 0x00);
const LIGHT: Rgb = Rgb(0xff, 0xff, 0xff);

/// The colours of a tenant that has chosen none, as `#rrggbb`.
pub fn default_colors() -> (String, String) {
    (PRIMARY.hex(), PRIMARY.companion().hex())
}

/// The custom properties that the storefront's stylesheet reads. Text on a colour is dark or light, whichever contrasts more; a tenant
/// with one colour gets a second that goes with it.
pub fn stylesheet(branding: &Branding) -> String {
    let primary = branding.primary_color.as_deref().and_then(Rgb::parse).unwrap_or(PRIMARY);
    let secondary = branding.secondary_color.as_deref().and_then(Rgb::parse).unwrap_or_else(|| primary.companion());
    format!(
        ":root{{--tenant:{};--on-tenant:{};--tenant-2:{};--on-tenant-2:{}}}\n",
        primary.hex(),
        primary.text().hex(),
        secondary.hex(),
        secondary.text().hex()
    )
}

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rgb(u8, u8, u8);

impl Rgb {
    fn parse(text: &str) -> Option<Self> {
        let number = u32::from_str_radix(text.strip_prefix('#').filter(|digits| digits.len() == 6)?, 16).ok()?;
        let [_, r, g, b] = number.to_be_bytes();
        Some(Self(r, g, b))
    }

    fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// The contrast ratio (WCAG 2.2), from 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance() + 0.05, other.luminance() + 0.05);
        if a > b { a / b } else { b / a }
    }

    /// The text colour with the better contrast ratio.
    fn text(self) -> Self {
        if self.contrast(LIGHT) >= self.contrast(DARK) { LIGHT } else { DARK }
    }

    /// A colour that goes with it and can be told from it: a step away from its text's colour, or towards that where there is no room.
    fn companion(self) -> Self {
        let text = self.text();
        let away = self.mixed(if text == LIGHT { DARK } else { LIGHT });
        if self.contrast(away) >= 1.25 { away } else { self.mixed(text) }
    }

    /// With 22 % of another.
    fn mixed(self, other: Self) -> Self {
        let mix = |a: u8, b: u8| u8::try_from((u32::from(a) * 78 + u32::from(b) * 22 + 50) / 100).unwrap_or(u8::MAX);
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours from all over the cube, its corners and greys among them.
    fn colors() -> impl Iterator<Item = Rgb> {
        let steps = || (0..=255).step_by(5).map(|step| u8::try_from(step).expect("fits"));
        steps().flat_map(move |r| steps().flat_map(move |g| steps().map(move |b| Rgb(r, g, b))))
    }

    #[test]
    fn text_on_any_colour_is_readable() {
        for color in colors() {
            let contrast = color.contrast(color.text());
            assert!(contrast >= 4.5, "{color:?}: {contrast}");
        }
        for (color, text) in [("#ffff00", DARK), ("#00008b", LIGHT), ("#757575", LIGHT), ("#777777", DARK)] {
            assert_eq!(Rgb::parse(color).map(Rgb::text), Some(text), "{color}");
        }
    }

    #[test]
    fn the_second_colour_of_any_other_can_be_told_from_it_and_written_on() {
        for color in colors() {
            let companion = color.companion();
            let (apart, text) = (color.contrast(companion), companion.contrast(companion.text()));
            assert!(apart >= 1.25 && text >= 4.5, "{color:?}, {companion:?}: {apart}, {text}");
        }
    }

    #[test]
    fn contrast_is_as_the_guidelines_have_it() {
        let ratio = |a: &str, b: &str| Rgb::parse(a).expect("a colour").contrast(Rgb::parse(b).expect("a colour"));
        for (a, b, expected) in
            [("#000000", "#ffffff", 21.0), ("#767676", "#ffffff", 4.54), ("#ff0000", "#ffffff", 4.0)]
        {
            assert!((ratio(a, b) - expected).abs() < 0.01, "{a} on {b}: {}", ratio(a, b));
        }
    }

    #[test]
    fn nothing_but_colours_reaches_the_stylesheet() {
        let branding = Branding { primary_color: Some("red;}body{x".into()), ..Branding::default() };
        assert_eq!(stylesheet(&branding), stylesheet(&Branding::default()));
        assert!(stylesheet(&branding).starts_with(":root{--tenant:#14573c;--on-tenant:#ffffff;"));
    }
}
