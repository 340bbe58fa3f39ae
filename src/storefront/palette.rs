//! A tenant's colours as a stylesheet, readable whatever it chose.

use crate::tenants::Branding;

const PRIMARY: Rgb = Rgb(0x1f, 0x4f, 0xd8);
const DARK: Rgb = Rgb(0x11, 0x13, 0x18);
const LIGHT: Rgb = Rgb(0xff, 0xff, 0xff);

/// The custom properties that the storefront's stylesheet reads. Text on a colour is dark or light, whichever contrasts more.
pub fn stylesheet(branding: &Branding) -> String {
    let primary = branding.primary_color.as_deref().and_then(Rgb::parse).unwrap_or(PRIMARY);
    let secondary = branding.secondary_color.as_deref().and_then(Rgb::parse).unwrap_or(primary);
    format!(
        ":root{{--tenant:{};--on-tenant:{};--tenant-2:{};--on-tenant-2:{}}}\n",
        primary.hex(),
        primary.text(),
        secondary.hex(),
        secondary.text()
    )
}

/// A colour.
#[derive(Clone, Copy)]
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

    /// The text colour with the better contrast ratio (WCAG 2.2).
    fn text(self) -> String {
        let against = |text: Self| {
            let (a, b) = (self.luminance() + 0.05, text.luminance() + 0.05);
            if a > b { a / b } else { b / a }
        };
        if against(LIGHT) >= against(DARK) { LIGHT.hex() } else { DARK.hex() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_on_any_colour_is_readable() {
        for (color, text) in
            [("#ffffff", DARK), ("#000000", LIGHT), ("#ffff00", DARK), ("#00008b", LIGHT), ("#767676", LIGHT)]
        {
            assert_eq!(Rgb::parse(color).map(Rgb::text), Some(text.hex()), "{color}");
        }
    }

    #[test]
    fn nothing_but_colours_reaches_the_stylesheet() {
        let branding = Branding { primary_color: Some("red;}body{x".into()), ..Branding::default() };
        assert!(stylesheet(&branding).starts_with(":root{--tenant:#1f4fd8;--on-tenant:#ffffff;"));
    }
}
