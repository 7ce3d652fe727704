//! Where a row lies in its table, nearly: rows that are written in the order of their keys find their neighbours still at hand.

use rowferry_api::{Cell, Key, TableSchema};

/// Orders keys as an index does, as far as their first two cells tell: whole numbers by value, all else by its first bytes.
pub(super) fn place(key: &Key) -> [u64; 2] {
    let mut cells = key.cells().map(|cell| match cell {
        Cell::Text(text) | Cell::Raw(text) => number(text).unwrap_or_else(|| first_bytes(text)),
        Cell::Null | Cell::Unchanged => 0,
    });
    [cells.next().unwrap_or(0), cells.next().unwrap_or(0)]
}

/// Whether rows of one batch may be written in another order than the source's. Where a second unique or exclusion constraint is, a
/// row may need a value that another one has to leave first; where a table refers to itself, children go before their parents.
pub(super) fn is_free(form: &TableSchema) -> bool {
    form.indexes.iter().all(|index| !index.unique && index.constraint.is_none())
        && form.foreign_keys.iter().all(|key| key.references != form.name)
}

fn number(text: &[u8]) -> Option<u64> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    // 18 digits always fit.
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some((sign * number).cast_unsigned() ^ 1 << 63)
}

fn first_bytes(text: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.iter_mut().zip(text).for_each(|(first, byte)| *first = *byte);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(cells: &[&str]) -> [u64; 2] {
        place(&Key::from_cells(cells.iter().map(|text| Cell::Text(text.as_bytes()))))
    }

    proptest! {
        #[test]
        fn whole_numbers_are_in_order(numbers in prop::array::uniform4(-999_999_999_999_999_999..=999_999_999_999_999_999_i64)) {
            let [a, b, c, d] = numbers;
            let texts = numbers.map(|number| number.to_string());
            prop_assert_eq!(of(&[&texts[0], &texts[1]]).cmp(&of(&[&texts[2], &texts[3]])), (a, b).cmp(&(c, d)));
        }

        #[test]
        fn texts_are_in_the_order_of_their_first_bytes(a in "[!-,:-~][ -~]{0,12}", b in "[!-,:-~][ -~]{0,12}") {
            let first = |text: &str| text.as_bytes()[..text.len().min(8)].to_vec();
            prop_assert_eq!(of(&[&a]).cmp(&of(&[&b])), first(&a).cmp(&first(&b)));
        }
    }
}
