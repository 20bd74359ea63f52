//! Generated regions of a Markdown page: what lies between `<!-- NAME:begin -->` and `<!-- NAME:end
//! -->`.

use anyhow::{Context as _, ensure};

/// The page with the region's content replaced. The markers stay, each on its own line.
///
/// # Errors
/// If a marker is missing or repeated, or the end comes before the beginning.
pub(super) fn replace_region(page: &str, name: &str, content: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- {name}:begin -->");
    let end = format!("<!-- {name}:end -->");
    for marker in [&begin, &end] {
        ensure!(page.matches(marker.as_str()).count() == 1, "the page must have one line {marker}");
    }
    let (before, rest) = page.split_once(&begin).context("counted above")?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{end} stands before {begin}"))?;
    // Blank lines around the content: a Markdown table needs them beside an HTML comment.
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", content.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# T\n<!-- a:begin -->\nold\n<!-- a:end -->\ntext\n<!-- b:begin --><!-- b:end -->\n";

    #[test]
    fn only_the_named_region_changes() {
        let page = replace_region(PAGE, "a", "| new |\n").expect("the markers are there");
        assert_eq!(
            page,
            "# T\n<!-- a:begin -->\n\n| new |\n\n<!-- a:end -->\ntext\n<!-- b:begin --><!-- b:end -->\n"
        );
    }

    #[test]
    fn writing_the_same_again_changes_nothing() {
        let once = replace_region(PAGE, "b", "x").expect("the markers are there");
        assert_eq!(replace_region(&once, "b", "x").expect("the markers are there"), once);
    }

    #[test]
    fn a_page_without_its_markers_is_refused() {
        assert!(replace_region(PAGE, "c", "x").is_err());
        assert!(replace_region("<!-- a:begin -->", "a", "x").is_err());
        assert!(replace_region("<!-- a:end --><!-- a:begin -->", "a", "x").is_err());
        assert!(replace_region(&format!("{PAGE}{PAGE}"), "a", "x").is_err());
    }
}
