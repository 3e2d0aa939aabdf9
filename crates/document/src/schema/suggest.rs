//! "Did you mean": the known word that is closest to the written one.

/// Returns the word among `known` that is closest to `written`, if it is close enough.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Length above which words are not compared. The cost grows with the product of the lengths.
    const MAX_COMPARED: usize = 48;
    /// Number of words of a list that are compared. A file can declare tens of thousands of names.
    const MAX_CANDIDATES: usize = 500;
    if written.is_empty() || written.len() > MAX_COMPARED {
        return None;
    }
    let plain =
        |word: &str| -> String { word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let wanted = plain(written);
    // Words of one or two letters are all close to each other, so only their case may differ.
    let allowed = match wanted.chars().count() {
        0..=2 => 0,
        letters => (letters / 3).max(1),
    };
    known
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter(|word| word.len() <= MAX_COMPARED)
        .map(|word| (strsim::damerau_levenshtein(&wanted, &plain(word)), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Returns the help line for an unknown word: the closest word, or the whole list when it is short.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    /// Length above which a list is not printed, because nobody wants to read it.
    const MAX_LISTED: usize = 24;
    if let Some(word) = closest(written, known.clone()) {
        return Some(format!("did you mean `{word}`?"));
    }
    let words: Vec<&str> = known.into_iter().collect();
    match words.len() {
        0 => None,
        1..=MAX_LISTED => Some(format!("known here: {}", words.join(", "))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closest_words() {
        let known = ["identifier", "name", "envVariables", "steps"];
        let cases = [
            ("identifer", Some("identifier")),
            ("env_variables", Some("envVariables")),
            ("step", Some("steps")),
            ("Name", Some("name")),
            ("nmae", Some("name")),
            ("unrelated", None),
            ("na", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(closest(written, known), expected, "{written:?}");
        }
    }
}
