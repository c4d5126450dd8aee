//! Text ⇄ tokens: words or characters, the most frequent ones in the training texts. Knows no file and no model.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What a token represents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Unit {
    /// A word in lower case. ASCII punctuation is deleted, and words are separated by white
    /// space, as in Keras' `TextVectorization`: `It's co-written` is `its` and `cowritten`.
    #[default]
    Words,
    /// A Unicode character, unchanged.
    Characters,
    /// What stands between white space, unchanged: for texts that are split into tokens already.
    Whitespace,
}

impl Unit {
    /// The word for each unit, as in files and on the command line.
    pub const WORDS: [(&'static str, Self); 3] =
        [("words", Self::Words), ("chars", Self::Characters), ("whitespace", Self::Whitespace)];

    /// Returns whether a space separates two of them.
    pub(super) fn is_spaced(self) -> bool {
        self != Self::Characters
    }

    /// Returns what several of them are called.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Characters => "characters",
            Self::Whitespace => "tokens",
        }
    }

    /// Returns what one of them is called.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Words => "word",
            Self::Characters => "character",
            Self::Whitespace => "token",
        }
    }

    /// Calls `each` with every unit of `text`, in order, and the byte at which it begins.
    pub(super) fn each(self, text: &str, mut each: impl FnMut(usize, &str)) {
        match self {
            Self::Characters => {
                let mut buffer = [0; 4];
                text.char_indices().for_each(|(at, c)| each(at, c.encode_utf8(&mut buffer)));
            }
            Self::Whitespace => {
                let begin = text.as_ptr().addr();
                text.split_whitespace().for_each(|piece| each(piece.as_ptr().addr() - begin, piece));
            }
            Self::Words => {
                let begin = text.as_ptr().addr();
                for piece in text.split_whitespace() {
                    let word: String = piece.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
                    if !word.is_empty() {
                        each(piece.as_ptr().addr() - begin, &word);
                    }
                }
            }
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, unit)| unit == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}

/// Counts units, text after text.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    unit: Unit,
    places: HashMap<String, usize>,
    counts: Vec<u64>,
}

impl Counter {
    pub(super) fn of(unit: Unit) -> Self {
        Self { unit, ..Self::default() }
    }

    /// Counts the units of a text.
    pub(super) fn add(&mut self, text: &str) {
        let Self { unit, places, counts } = self;
        unit.each(text, |_, word| match places.get(word) {
            Some(&place) => counts[place] += 1,
            None => {
                places.insert(word.to_owned(), counts.len());
                counts.push(1);
            }
        });
    }

    /// Returns how often each unit occurs, the most frequent first;
    /// equally frequent ones in the order in which they were first seen.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there was none.
    pub(super) fn counted(self) -> Result<Vec<(String, u64)>> {
        if self.counts.is_empty() {
            let text = "expected texts with words, got punctuation alone";
            return Err(Error::new(ErrorKind::Training, text).hint("try characters"));
        }
        let mut seen: Vec<(String, usize)> = self.places.into_iter().collect();
        seen.sort_unstable_by_key(|(_, place)| (std::cmp::Reverse(self.counts[*place]), *place));
        Ok(seen.into_iter().map(|(word, place)| (word, self.counts[place])).collect())
    }
}

/// A vocabulary: the token of each word or character.
///
/// Token 0 is padding, 1 begins a text, 2 replaces units outside the vocabulary. From 3 on come the most frequent
/// units of the texts that it was made from. Equally frequent ones come in the order in which they were first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    unit: Unit,
    start: bool,
    /// The units; the first is token 3.
    units: Vec<String>,
    tokens: HashMap<String, i64>,
}

impl Tokenizer {
    /// The token that pads a shorter text.
    pub const PADDING: i64 = 0;
    /// The token that begins a text.
    pub const START: i64 = 1;
    /// The token of units outside the vocabulary.
    pub const UNKNOWN: i64 = 2;
    /// How many tokens are no word and no character.
    pub const SPECIAL: usize = 3;

    /// Learns the vocabulary of `texts`, with at most `num_tokens` tokens, including
    /// those that are no word. With `start` a text begins with [`START`](Self::START).
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if there is no room for a word, or no word in the texts.
    pub fn learn<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        unit: Unit,
        num_tokens: usize,
        start: bool,
    ) -> Result<Self> {
        let mut counter = Counter::of(unit);
        texts.into_iter().for_each(|text| counter.add(text));
        Self::of_counts(counter, num_tokens, start)
    }

    /// Does the same as [`learn`](Self::learn), from units counted before.
    pub(super) fn of_counts(counter: Counter, num_tokens: usize, start: bool) -> Result<Self> {
        let unit = counter.unit;
        let room = num_tokens.saturating_sub(Self::SPECIAL);
        if room == 0 {
            let text = format!(
                "num_tokens: expected {} or more, got {num_tokens}; 0 is padding, 1 the start, 2 what is unknown",
                Self::SPECIAL + 1
            );
            return Err(Error::new(ErrorKind::Training, text));
        }
        let mut counted = counter.counted()?;
        counted.truncate(room);
        Self::of_units(unit, start, counted.into_iter().map(|(word, _)| word).collect())
    }

    /// Makes a vocabulary of these units; the first is token 3.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if
    /// a unit is given twice, or is invalid: several words, capitals or punctuation.
    pub fn of_units(unit: Unit, start: bool, units: Vec<String>) -> Result<Self> {
        let mut tokens = HashMap::with_capacity(units.len());
        for (word, token) in units.iter().zip(Self::SPECIAL as i64..) {
            let (mut parts, mut same) = (0, false);
            unit.each(word, |_, part| (parts, same) = (parts + 1, part == word));
            if parts != 1 || !same {
                let text = format!("vocabulary: expected {}, got {word:?} as token {token}", unit.plural());
                return Err(Error::new(ErrorKind::Training, text));
            }
            match tokens.entry(word.clone()) {
                Entry::Vacant(free) => free.insert(token),
                Entry::Occupied(_) => {
                    let text = format!("vocabulary: expected each word once, got {word:?} again as token {token}");
                    return Err(Error::new(ErrorKind::Training, text));
                }
            };
        }
        Ok(Self { unit, start, units, tokens })
    }

    /// Returns what a token represents.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Returns whether a text begins with [`START`](Self::START).
    pub fn start(&self) -> bool {
        self.start
    }

    /// Returns the words or characters; the first is token 3.
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// Returns the number of tokens, including those that are no word. A model needs at least this many.
    pub fn num_tokens(&self) -> usize {
        Self::SPECIAL + self.units.len()
    }

    /// Returns the tokens of a text, at least one. A text without a word is one unknown token.
    pub fn encode(&self, text: &str) -> Vec<i64> {
        let mut tokens: Vec<i64> = self.start.then_some(Self::START).into_iter().collect();
        let before = tokens.len();
        self.go_on(text, |_, token| tokens.push(token));
        if tokens.len() == before {
            tokens.push(Self::UNKNOWN);
        }
        tokens
    }

    /// Calls `each` with the tokens of a text that continues another, and the bytes at which they begin.
    pub(super) fn go_on(&self, text: &str, mut each: impl FnMut(usize, i64)) {
        self.unit.each(text, |at, word| each(at, self.tokens.get(word).copied().unwrap_or(Self::UNKNOWN)));
    }

    /// Returns the text of some tokens. All but characters are separated by spaces,
    /// `�` replaces unknown ones, and padding and start are left out.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a token is outside the vocabulary.
    pub fn decode(&self, tokens: &[i64]) -> Result<String> {
        let mut words = Vec::new();
        for &token in tokens {
            let place = usize::try_from(token).ok().map(|token| token.checked_sub(Self::SPECIAL));
            words.push(match (token, place) {
                (Self::PADDING | Self::START, _) => continue,
                (Self::UNKNOWN, _) => "\u{fffd}",
                (_, Some(Some(place))) if place < self.units.len() => self.units[place].as_str(),
                _ => {
                    let text = format!("expected tokens below {}, got {token}", self.num_tokens());
                    return Err(Error::new(ErrorKind::Shape, text));
                }
            });
        }
        Ok(words.join(if self.unit.is_spaced() { " " } else { "" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 3] = ["The film, the END.", "It's co-written -- by the film's END", "a <br /> ÉTÉ the"];

    fn words(num_tokens: usize) -> Tokenizer {
        Tokenizer::learn(TEXTS, Unit::Words, num_tokens, true).unwrap()
    }

    #[test]
    fn words_are_lower_case_without_punctuation_and_the_most_frequent_come_first() {
        let all = ["the", "end", "film", "its", "cowritten", "by", "films", "a", "br", "été"];
        assert_eq!(words(1000).units(), all);
        assert_eq!(words(5).units(), &all[..2]);
        assert_eq!(words(1000).num_tokens(), 13);
        assert_eq!(words(5).encode("END of THE film!"), [1, 4, 2, 3, 2]);
        assert_eq!(words(1000).decode(&[1, 4, 2, 3, 0, 0]).unwrap(), "end \u{fffd} the");
    }

    #[test]
    fn ties_are_in_the_order_of_first_appearance_by_whatever_map() {
        let many: Vec<String> = (0..500).map(|n| format!("w{}", (n * 7919) % 500)).collect();
        let text = many.join(" ");
        let learned = Tokenizer::learn([text.as_str()], Unit::Words, 1000, false).unwrap();
        assert_eq!(learned.units(), many);
    }

    #[test]
    fn characters_are_taken_as_they_stand() {
        let chars = Tokenizer::learn(["Abba é"], Unit::Characters, 100, false).unwrap();
        assert_eq!(chars.units(), ["b", "A", "a", " ", "é"]);
        let tokens = chars.encode("bA é?");
        assert_eq!(tokens, [3, 4, 6, 7, 2]);
        assert_eq!(chars.decode(&tokens).unwrap(), "bA é\u{fffd}");
    }

    #[test]
    fn a_text_without_a_word_is_unknown() {
        assert_eq!(words(1000).encode("?!"), [1, 2]);
        let plain = Tokenizer::learn(TEXTS, Unit::Words, 10, false).unwrap();
        assert_eq!((plain.encode(""), plain.encode("the")), (vec![2], vec![3]));
    }

    #[test]
    fn a_vocabulary_that_cannot_be_is_refused() {
        let learn = |texts: &[&'static str], num_tokens| {
            Tokenizer::learn(texts.iter().copied(), Unit::Words, num_tokens, true).unwrap_err().to_string()
        };
        assert!(learn(&TEXTS, 3).starts_with("num_tokens: expected 4 or more, got 3; "));
        assert_eq!(learn(&["...", "?"], 100), "expected texts with words, got punctuation alone; try characters");
        for (units, said) in [
            (["a", "a"], "expected each word once, got \"a\" again as token 4"),
            (["a", "a b"], "expected words, got \"a b\" as token 4"),
            (["A", "b"], "expected words, got \"A\" as token 3"),
            (["", "b"], "expected words, got \"\" as token 3"),
        ] {
            let error =
                Tokenizer::of_units(Unit::Words, true, units.map(str::to_owned).into()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        for token in [-1, 13, i64::MAX, i64::MIN] {
            assert!(words(1000).decode(&[token]).is_err(), "{token}");
        }
    }
}
