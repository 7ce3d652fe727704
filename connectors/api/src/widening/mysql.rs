//! MySQL's types: `int(10) unsigned`, `varchar(20) character set utf8mb4 collate utf8mb4_bin`, `enum('a','b')`.

/// A type taken apart: name, what stands in its parentheses, signedness. Character set and collation say how values are
/// stored and compared, not which there are.
struct Spelled<'a> {
    name: &'a str,
    inside: &'a str,
    unsigned: bool,
}

pub(super) fn is_wider(before: &str, now: &str) -> bool {
    let (before, now) = (spelled(before), spelled(now));
    if let (Some(before_bits), Some(now_bits)) = (int_bits(before.name), int_bits(now.name)) {
        return match (before.unsigned, now.unsigned) {
            (false, true) => false,
            (true, false) => now_bits > before_bits,
            _ => now_bits >= before_bits,
        };
    }
    match (before.name, now.name) {
        ("float", "double") => true,
        ("decimal", "decimal") => decimals(&before, &now),
        ("enum", "enum") | ("set", "set") => now.inside.starts_with(before.inside),
        ("char" | "varchar", "varchar") => length(&now) >= length(&before),
        ("char", "char") => length(&now) >= length(&before),
        ("char" | "varchar", other) => text_bytes(other).is_some_and(|bytes| bytes >= u64::from(length(&before)) * 4),
        ("varbinary", "varbinary") => length(&now) >= length(&before),
        ("varbinary", other) => blob_bytes(other).is_some_and(|bytes| bytes >= u64::from(length(&before))),
        ("datetime" | "timestamp" | "time", other) if other == before.name => {
            length_or(&now, 0) >= length_or(&before, 0)
        }
        (old, new) => {
            let wider =
                |bytes: fn(&str) -> Option<u64>| matches!((bytes(old), bytes(new)), (Some(a), Some(b)) if b >= a);
            wider(text_bytes)
                || wider(blob_bytes)
                || (old == new && before.inside == now.inside && before.unsigned == now.unsigned)
        }
    }
}

fn spelled(native: &str) -> Spelled<'_> {
    let end = native.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(native.len());
    let rest = &native[end..];
    let mut quoted = false;
    let closes = |(_, char): &(usize, char)| {
        quoted ^= *char == '\'';
        !quoted && *char == ')'
    };
    let inside = rest.strip_prefix('(').and_then(|inside| {
        let (end, _) = inside.char_indices().find(closes)?;
        Some(&inside[..end])
    });
    let words = inside.map_or(rest, |inside| &rest[inside.len() + 2..]);
    let unsigned = words.split_whitespace().any(|word| word == "unsigned" || word == "zerofill");
    Spelled { name: &native[..end], inside: inside.unwrap_or_default(), unsigned }
}

fn int_bits(name: &str) -> Option<u8> {
    match name {
        "tinyint" => Some(8),
        "smallint" => Some(16),
        "mediumint" => Some(24),
        "int" => Some(32),
        "bigint" => Some(64),
        _ => None,
    }
}

fn text_bytes(name: &str) -> Option<u64> {
    sized(name.strip_suffix("text")?)
}

fn blob_bytes(name: &str) -> Option<u64> {
    sized(name.strip_suffix("blob")?)
}

fn sized(prefix: &str) -> Option<u64> {
    match prefix {
        "tiny" => Some((1 << 8) - 1),
        "" => Some((1 << 16) - 1),
        "medium" => Some((1 << 24) - 1),
        "long" => Some((1 << 32) - 1),
        _ => None,
    }
}

fn length(spelled: &Spelled<'_>) -> u32 {
    length_or(spelled, 1)
}

fn length_or(spelled: &Spelled<'_>, default: u32) -> u32 {
    spelled.inside.trim().parse().unwrap_or(default)
}

/// As many digits before the point, and the same behind it: another scale prints other digits.
fn decimals(before: &Spelled<'_>, now: &Spelled<'_>) -> bool {
    let numbers = |spelled: &Spelled<'_>| {
        let mut numbers = spelled.inside.split(',').map(|number| number.trim().parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(10), numbers.next().unwrap_or(0))
    };
    let ((p1, s1), (p2, s2)) = (numbers(before), numbers(now));
    s1 == s2 && p2 >= p1 && (!now.unsigned || before.unsigned)
}

#[cfg(test)]
mod tests {
    use super::is_wider;

    #[test]
    fn only_what_holds_every_value_is_wider() {
        let wider = [
            ("int(11)", "bigint(20)"),
            ("int(10) unsigned", "bigint(20)"),
            ("int(11)", "int(9)"),
            (
                "varchar(20) character set utf8mb4 collate utf8mb4_bin",
                "varchar(30) character set latin1 collate latin1_bin",
            ),
            ("varchar(20) character set utf8mb4 collate utf8mb4_bin", "text character set utf8mb4 collate utf8mb4_bin"),
            ("text", "longtext"),
            ("enum('a','b')", "enum('a','b','c')"),
            ("decimal(10,2)", "decimal(12,2)"),
            ("datetime", "datetime(6)"),
            ("float", "double"),
            ("json", "json"),
            ("varbinary(8)", "blob"),
        ];
        for (before, now) in wider {
            assert!(is_wider(before, now), "{before} to {now}");
        }
        let narrower = [
            ("bigint(20)", "int(11)"),
            ("int(11)", "bigint(20) unsigned"),
            ("int(10) unsigned", "int(11)"),
            ("varchar(30)", "varchar(20)"),
            ("text", "varchar(100)"),
            ("enum('a','b')", "enum('b','a')"),
            ("decimal(10,2)", "decimal(12,3)"),
            ("datetime(6)", "datetime"),
            ("int(11)", "varchar(20)"),
            ("timestamp", "datetime"),
            ("binary(8)", "binary(16)"),
        ];
        for (before, now) in narrower {
            assert!(!is_wider(before, now), "{before} to {now}");
        }
    }
}
