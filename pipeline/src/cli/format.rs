//! Numbers as people read them: `1,234 clips`, `12.3 clips/s`, `1.2 GiB`, `3 min 20 s`.
//!
//! A number that is none (NaN, infinite, negative where that makes no sense) becomes an en dash, never `NaN`.

use bytesize::ByteSize;

/// What stands where there is no number.
pub const NO_NUMBER: &str = "\u{2013}";

/// `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,234 clips`, `1 clip`: the number and its noun, with an `s` unless there is exactly one.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A non-negative quantity to three significant digits: `0.123`, `12.3`, `1,235`.
pub fn quantity(x: f64) -> String {
    if !x.is_finite() || x < 0.0 {
        return NO_NUMBER.to_owned();
    }
    match x {
        x if x >= 1e15 => format!("{x:.2e}"),
        x if x >= 99.95 => count(x.round() as u64),
        x if x >= 9.995 => format!("{x:.1}"),
        x if x >= 0.9995 => format!("{x:.2}"),
        0.0 => "0".to_owned(),
        x if x >= 0.0005 => format!("{x:.3}"),
        _ => "<0.001".to_owned(),
    }
}

/// `12.3 clips/s`.
pub fn rate(per_s: f64) -> String {
    format!("{} clips/s", quantity(per_s))
}

/// `1.2 GiB`, `640 B`.
pub fn bytes(n: u64) -> String {
    ByteSize(n).display().iec().to_string()
}

/// `0.42 s`, `4.2 s`, `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NO_NUMBER.to_owned();
    }
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    if seconds < 0.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", count(whole / 86_400), whole % 86_400 / 3_600),
    }
}

/// A share of one as a percentage: `42 %`; below ten per cent with a decimal, so that one bad clip in a thousand shows.
pub fn percent(share: f64) -> String {
    if !share.is_finite() || share < 0.0 {
        return NO_NUMBER.to_owned();
    }
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        p if p < 0.05 => "<0.1 %".to_owned(),
        p if p < 9.95 => format!("{p:.1} %"),
        p => format!("{} %", if p < 1e9 { count(p.round() as u64) } else { quantity(p) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_thousands_and_nouns_agree() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1_000, 1_234_567].map(count)[..]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "clip"), "1 clip");
        assert_eq!(counted(1_234, "clip"), "1,234 clips");
    }

    #[test]
    fn quantities_have_three_digits_at_every_boundary() {
        let cases = [0.0, 0.0001, 0.1234, 0.9996, 1.234, 9.996, 12.34, 99.96, 1234.5, 1e18];
        let wanted = ["0", "<0.001", "0.123", "1.00", "1.23", "10.0", "12.3", "100", "1,235", "1.00e18"];
        assert_eq!(cases.map(quantity)[..], wanted);
    }

    #[test]
    fn durations_switch_units_without_ever_saying_sixty() {
        let cases = [0.0, 0.42, 0.996, 4.2, 9.96, 42.4, 59.6, 200.0, 3_599.7, 7_500.0, 86_399.9, 273_600.0];
        let wanted = [
            "0 s",
            "0.42 s",
            "1.0 s",
            "4.2 s",
            "10 s",
            "42 s",
            "1 min 00 s",
            "3 min 20 s",
            "1 h 00 min",
            "2 h 05 min",
            "1 d 0 h",
            "3 d 4 h",
        ];
        assert_eq!(cases.map(duration)[..], wanted);
    }

    #[test]
    fn bytes_and_percent() {
        assert_eq!(["640 B", "64.0 KiB", "1.2 GiB"], [640, 65_536, 1_288_490_189].map(bytes)[..]);
        let shares = [0.0, 1e-6, 0.004, 0.0996, 0.42, 0.995, 1.0, 123.4, 1e20];
        let wanted = ["0 %", "<0.1 %", "0.4 %", "10 %", "42 %", "100 %", "100 %", "12,340 %", "1.00e22 %"];
        assert_eq!(shares.map(percent)[..], wanted);
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for x in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!([quantity(x), duration(x), percent(x)], [NO_NUMBER; 3]);
            assert_eq!(rate(x), "– clips/s");
        }
    }
}
