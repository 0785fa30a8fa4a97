//! "Did you mean": the known word that is nearest to a misspelt one.

/// The nearest of `known`, when it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is not worth the quadratic time, and nobody meant it.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let rated = known.into_iter().map(|candidate| (closeness(&lower, &candidate.to_lowercase()), candidate));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= 0.6).then_some(best.1)
}

/// 1 for equal words; parts count: `rate` is close to `rate_hz`.
fn closeness(word: &str, candidate: &str) -> f64 {
    let spelled = strsim::normalized_damerau_levenshtein(word, candidate);
    let contained = word.len() >= 3 && (candidate.contains(word) || word.contains(candidate) && candidate.len() >= 3);
    if contained { spelled.max(0.65) } else { spelled }
}

/// "did you mean `x`?", or the choices when none is near.
pub fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => format!("known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["rate_hz", "seconds", "preset"];
        assert_eq!(nearest("rate", known), Some("rate_hz"));
        assert_eq!(nearest("second", known), Some("seconds"));
        assert_eq!(nearest("PRESET", known), Some("preset"));
        assert_eq!(nearest("xyzzy", known), None);
        assert_eq!(suggest("xyzzy", &known), "known: rate_hz, seconds, preset");
    }
}
