//! Text in columns.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Rows as lines, each column as wide as its widest cell and two spaces apart from the next.
pub(crate) fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "b"], ["long", "é"], ["", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(rows), "a     b\nlong  é\n      c");
    }
}
