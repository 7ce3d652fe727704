use super::*;

fn decoded(charset: &Charset, text: &[u8]) -> Option<String> {
    let mut out = Vec::new();
    charset.decode(text, &mut out)?;
    if let Some(borrowed) = charset.borrow(text) {
        assert_eq!(borrowed, out);
    }
    Some(String::from_utf8(out).unwrap())
}

fn check(name: &str, text: &[u8], expected: Option<&str>) {
    let charset = Charsets::default().get(name).unwrap();
    assert_eq!(decoded(&charset, text).as_deref(), expected, "{name} {text:02x?}");
}

#[test]
fn built_in_sets() {
    check("utf8mb4", "aé😀".as_bytes(), Some("aé😀"));
    check("utf8mb3", b"a\xff", None);
    check("ascii", b"abc", Some("abc"));
    check("ascii", "é".as_bytes(), None);
    check("latin1", b"a\xe9\x80\x81", Some("aé€\u{81}"));
    check("ucs2", &[0, 0x61, 0x20, 0xac], Some("a€"));
    check("utf16", &[0xd8, 0x3d, 0xde, 0x00], Some("😀"));
    check("utf16", &[0xd8, 0x3d], None);
    check("utf16", &[0], None);
    check("utf16le", &[0x61, 0, 0x3d, 0xd8, 0, 0xde], Some("a😀"));
    check("utf32", &[0, 1, 0xf6, 0], Some("😀"));
    check("utf32", &[0, 0x11, 0, 0], None);
    check("gb18030", &[0x61, 0xc4, 0xe3, 0x81, 0x30, 0x81, 0x30], Some("a你\u{80}"));
    check("gb18030", &[0xff], None);
}

#[test]
fn a_set_that_is_not_known_is_an_error() {
    let error = Charsets::default().get("latin2").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert_eq!(Charsets::default().queries("utf8mb4"), Vec::<String>::new());
    assert_eq!(Charsets::default().queries("latin2").len(), 1);
    assert_eq!(Charsets::default().queries("sjis").len(), 2);
    assert_eq!(Charsets::default().queries("ujis").len(), 3);
    assert!(Charsets::default().learn("latin2", &["00000000".into()]).is_err());
}

/// Answers as a server gives them for a set of ASCII and one pair, 0x81 0x40.
#[test]
fn a_learned_set_is_decoded_by_its_table() {
    let singles: Vec<String> = (0..256)
        .map(|byte| match byte {
            0..0x80 => format!("{byte:08X}"),
            0xa1 => "0000FF61".into(),
            0xff => String::new(),
            _ => "0000003F".into(),
        })
        .collect();
    let pairs: Vec<&str> = (0..128 * 256)
        .map(|at| match at {
            0x140 => "00003000",
            0x141 => "0000003F00000041",
            _ => "0000003F",
        })
        .collect();
    let mut charsets = Charsets::default();
    charsets.learn("sjis", &[singles.join(","), pairs.join(",")]).unwrap();
    assert_eq!(charsets.queries("sjis"), Vec::<String>::new());
    let charset = charsets.get("sjis").unwrap();
    assert_eq!(charset.max_char_bytes(), 2);
    assert_eq!(decoded(&charset, b"a?\x81\x40b\xa1").as_deref(), Some("a?\u{3000}b\u{ff61}"));
    for text in [&b"\x81\x41"[..], b"\x81", b"\xff", b"\x82\x40"] {
        assert_eq!(decoded(&charset, text), None);
    }
}
