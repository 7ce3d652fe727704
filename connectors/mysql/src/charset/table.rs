//! A character set of one to three bytes a character as a table that the server made.

/// Marks bytes that are no character.
const NONE: char = char::REPLACEMENT_CHARACTER;
/// The first byte of the three-byte characters of the EUC-JP sets.
const TRIPLE: u8 = 0x8f;
/// A grid has a row for each lead byte from 0x80 on.
const FIRST_LEAD: usize = 0x80;
const GRID_LEN: usize = 128 * 256;

/// The characters by their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    singles: Vec<char>,
    /// By lead byte (from 0x80 on) and the byte after it; empty in one-byte sets.
    doubles: Vec<char>,
    /// The same behind 0x8f; empty in all but the EUC-JP sets.
    triples: Vec<char>,
    holds_ascii: bool,
}

/// One statement for the single bytes, one for the pairs, one for what stands behind 0x8f. Each answers the characters in
/// UTF-32, hexadecimal, with commas between them; what is no character is empty, `?`, or several of them.
pub(super) fn queries(name: &str) -> Vec<String> {
    let grids = match name {
        "big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis" => 1,
        "ujis" | "eucjpms" => 2,
        _ => 0,
    };
    // The name goes into the statement's text.
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Vec::new();
    }
    let digits: Vec<String> = (0..16).map(|digit| format!("SELECT '{digit:X}' AS h")).collect();
    let digit = digits.join(" UNION ALL ");
    let high: Vec<String> = (8..16).map(|digit| format!("SELECT '{digit:X}' AS h")).collect();
    let high = high.join(" UNION ALL ");
    let single = format!("({digit}) AS c CROSS JOIN ({digit}) AS d");
    let pair = format!("({high}) AS a CROSS JOIN ({digit}) AS b CROSS JOIN {single}");
    let query = |bytes: &str, order: &str, from: &str| {
        format!(
            "SELECT GROUP_CONCAT(COALESCE(HEX(CONVERT(CONVERT(UNHEX(CONCAT({bytes})) USING {name}) USING utf32)), '') \
             ORDER BY {order} SEPARATOR ',') FROM {from}"
        )
    };
    let mut queries = vec![query("c.h, d.h", "c.h, d.h", &single)];
    let order = "a.h, b.h, c.h, d.h";
    queries.extend([order, "'8F', a.h, b.h, c.h, d.h"].iter().take(grids).map(|bytes| query(bytes, order, &pair)));
    queries
}

impl Table {
    /// From the answers to the queries; `None` if they are none.
    pub(super) fn read(answers: &[String]) -> Option<Self> {
        let (singles, grids) = answers.split_first()?;
        let singles = read_answer(singles, 256, 0x3f)?;
        let mut grids = grids.iter().map(|answer| read_answer(answer, GRID_LEN, GRID_LEN));
        let mut grid = || grids.next().unwrap_or_else(|| Some(Vec::new()));
        let (doubles, triples) = (grid()?, grid()?);
        let holds_ascii = (0u8..0x80).all(|byte| singles[usize::from(byte)] == char::from(byte));
        Some(Self { singles, doubles, triples, holds_ascii })
    }

    pub(super) fn max_char_bytes(&self) -> u32 {
        1 + u32::from(!self.doubles.is_empty()) + u32::from(!self.triples.is_empty())
    }

    pub(super) fn holds_ascii(&self) -> bool {
        self.holds_ascii
    }

    pub(super) fn decode(&self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            let single = self.singles[usize::from(first)];
            let (char, len) = if single != NONE {
                (single, 1)
            } else if first == TRIPLE && !self.triples.is_empty() {
                (in_grid(&self.triples, *after.first()?, *after.get(1)?)?, 3)
            } else {
                (in_grid(&self.doubles, first, *after.first()?)?, 2)
            };
            super::push_char(out, char);
            rest = &rest[len..];
        }
        Some(())
    }
}

fn in_grid(grid: &[char], lead: u8, trail: u8) -> Option<char> {
    let at = usize::from(lead).checked_sub(FIRST_LEAD)? * 256 + usize::from(trail);
    grid.get(at).copied().filter(|char| *char != NONE)
}

/// `question_mark` is the only place where a question mark is one, and not the server's word for no character.
fn read_answer(answer: &str, len: usize, question_mark: usize) -> Option<Vec<char>> {
    let chars: Vec<char> = answer
        .split(',')
        .enumerate()
        .map(|(at, digits)| match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
            Some('?') if at != question_mark => NONE,
            Some(char) if digits.len() == 8 => char,
            _ => NONE,
        })
        .collect();
    (chars.len() == len).then_some(chars)
}
