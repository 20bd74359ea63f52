//! The settings in `docs/DEPLOYMENT.md`, as they stand there.

use anyhow::{Context as _, ensure};

/// The page.
const PAGE: &str = include_str!("../../../../../docs/DEPLOYMENT.md");

/// Settings from the page, of which some words are replaced.
#[derive(Debug)]
pub(super) struct Settings {
    text: String,
}

impl Settings {
    /// The block of this language, the first one or a later one.
    ///
    /// # Errors
    /// If the page has no such block.
    pub(super) fn of(language: &str, number: usize) -> anyhow::Result<Self> {
        let mut blocks = blocks(PAGE).filter(|block| block.language == language);
        let block =
            blocks.nth(number).with_context(|| format!("no {language} block {number} on the page"))?;
        Ok(Self { text: block.text.to_owned() })
    }

    /// These with other words in the place of some, wherever they are.
    ///
    /// # Errors
    /// If they are nowhere: then the page is no longer what this was written for.
    pub(super) fn with(self, words: &str, others: &str) -> anyhow::Result<Self> {
        ensure!(self.text.contains(words), "{words:?} is not in the settings:\n{}", self.text);
        Ok(Self { text: self.text.replace(words, others) })
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// How many blocks have settings of a proxy.
#[cfg(test)]
pub(super) fn count() -> usize {
    blocks(PAGE).filter(|block| block.language != "sh").count()
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block<'a> {
    language: &'a str,
    text: &'a str,
}

fn blocks(page: &str) -> impl Iterator<Item = Block<'_>> {
    // Between fences there is, in turns, prose and a block, which begins with its language.
    page.split("\n```").skip(1).step_by(2).filter_map(|block| {
        let (language, text) = block.split_once('\n')?;
        Some(Block { language, text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_languages() {
        let page = "prose\n\n```one\na\n b\n```\n\nmore\n```two\nc\n```\n";
        let found: Vec<Block<'_>> = blocks(page).collect();
        assert_eq!(found, [Block { language: "one", text: "a\n b" }, Block { language: "two", text: "c" }]);
    }

    #[test]
    fn words_that_are_not_there_cannot_be_replaced() {
        let settings = || Settings { text: "listen 443;".to_owned() };
        assert_eq!(settings().with("443", "1").expect("they are there").into_text(), "listen 1;");
        assert!(settings().with("444", "1").is_err());
    }
}
