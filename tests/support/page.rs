//! Pages of `docs/` that have places for what tests have seen.

use std::fs;
use std::path::Path;

/// Writes `text` into a page between `<!-- MARK -->` and `<!-- end -->`.
pub fn write(page: &str, mark: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let whole = fs::read_to_string(&path).expect("a page");
    let begin = format!("<!-- {mark} -->\n");
    let (head, rest) = whole.split_once(&begin).expect("a place for it");
    let (_, tail) = rest.split_once("<!-- end -->").expect("its end");
    fs::write(&path, format!("{head}{begin}{text}<!-- end -->{tail}")).expect("the page");
}
