//! Decodes what there may be one of for each IP family: one value, or a list of two.

use super::{Decoder, Fields};
use crate::inventory::Located;
use crate::inventory::keys::ValueKind;
use crate::inventory::positions::Path;
use crate::inventory::tree::Tree;

impl Decoder<'_> {
    /// Returns the values at `key`, each with its path: one, or a list of one for each IP family.
    fn families<'t>(&mut self, fields: &Fields<'t>, key: &str) -> Vec<(&'t Tree, Path)> {
        let Some((tree, path)) = fields.get(key) else { return Vec::new() };
        let Tree::List(elements) = tree else { return vec![(tree, path)] };
        if !(1..=2).contains(&elements.len()) {
            let what = format!("`{path}` has {} values", elements.len());
            let help = "one value, or a list of two: one for IPv4, and one for IPv6";
            self.problems.error(self.positions.value(&path), what, help);
            return Vec::new();
        }
        elements.iter().enumerate().map(|(index, tree)| (tree, path.index(index))).collect()
    }

    pub(super) fn per_family(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Located<String>> {
        let values = self.families(fields, key).into_iter();
        values.filter_map(|(tree, path)| self.text_at(tree, &path)).collect()
    }

    pub(super) fn integer_per_family(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Vec<Located<u8>> {
        let kind = fields.section.and_then(|section| section.key(key)).map(|key| key.kind);
        let Some(ValueKind::PerFamily(ValueKind::Number(least, most))) = kind else {
            return Vec::new();
        };
        let values = self.families(fields, key).into_iter();
        values
            .filter_map(|(tree, path)| self.integer_at(tree, &path, (*least, *most), key))
            .collect()
    }
}
