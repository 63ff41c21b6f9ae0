//! The rules as a table, and the documents that values stand in.
//!
//! Promises: each rule has rows on both of its sides.
//! Never: encodes or searches.

use proptest::prelude::*;

use super::*;

fn texts(name: &str, value: &str) -> Vec<String> {
    parts(name, value.as_bytes(), Mask::Auto)
        .into_iter()
        .map(|part| String::from_utf8(part.to_vec()).expect("text"))
        .collect()
}

#[test]
fn the_rules() {
    for (key, value, expected) in [
        ("password", "true", false),
        ("password", "5432", false),
        ("pin", "4711471147", false),
        ("token", "123456789012", false),
        ("x", "2026-11-20T12:00:00", false),
        ("x", "10.0.0.1:5432, 10.0.0.2", false),
        ("x", "1.5e+10 -2.25", false),
        ("password", "hunter2", false),
        ("password", "abcDEF1", false),
        ("engine", "postgres", false),
        ("dbname", "Shop_Orders_2026", false),
        ("username", "Shop-App-User-1", false),
        ("Host", "db.Prod.internal-7", false),
        ("x", "postgres", false),
        ("x", "production", false),
        ("password", "production", true),
        ("x", "connection", false),
        ("x", "db.prod.internal", true),
        ("host", "db.prod.internal", false),
        ("x", "shop-prod", false),
        ("x", "ABCDEFGHIJKL", false),
        ("api_key", "ABCDEFGHIJKL", true),
        ("apiToken", "abcdefghi", false),
        ("x", "abcdefg1", false),
        ("x", "Abcdefgh", false),
        ("password", "Abcdefgh", true),
        ("x", "Abcdef12", true),
        ("x", "abc123def", false),
        ("x", "deadbeef", false),
        ("x", "0f1e2d3c4b5a", true),
        ("x", "abcdefghijkl1", false),
        ("x", "hunter2!", true),
        ("x", "Tr0ub4dor&3", true),
        ("x", "us-east-1a", true),
        ("x", "correct horse battery staple", true),
    ] {
        assert_eq!(is_looked_for(key, value.as_bytes(), Mask::Auto), expected, "{key}: {value}");
    }
    for (value, expected) in [("production", true), ("postgres", true), ("hunter2", false), ("12345678", false)] {
        assert_eq!(is_looked_for("host", value.as_bytes(), Mask::Always), expected, "always: {value}");
    }
    assert!(parts("x", b"Tr0ub4dor&3", Mask::Never).is_empty());
}

#[test]
fn a_secret_as_rds_writes_it_gives_its_password_only() {
    let secret = r#"{"engine":"postgres","host":"db-1.cluster-abc123XYZ.us-east-1.rds.amazonaws.com","port":5432,
        "username":"Shop_App_1","password":"4fT$k9\"\\/é!","dbname":"Shop_2026","dbInstanceIdentifier":"Db-Inst-001",
        "masterarn":"arn:aws:secretsmanager:us-east-1:123456789012:secret:Master-AbCdEf","pin":1234567890123,"tls":true}"#;
    assert_eq!(texts("db", secret), ["4fT$k9\"\\/é!"]);
}

#[test]
fn documents_are_taken_apart() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\nC7Vxabc123==\n\
               -----END PRIVATE KEY-----\n";
    for (value, expected) in [
        ("Tr0ub4dor&3\n", vec!["Tr0ub4dor&3"]),
        ("\"Tr0ub4dor&3\"", vec!["Tr0ub4dor&3"]),
        ("{\"a\":{\"password\":[\"longpassword\"]},\"b\":null}", vec!["longpassword"]),
        ("{\"a\": broken", vec!["{\"a\": broken"]),
        (pem, vec!["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ", "C7Vxabc123=="]),
        (
            "# comment-With-4-Things\nexport DB_PASSWORD='4fT$k9x!!'\nDB_HOST=db\nA: \"Yaml-V4lue\"\n",
            vec!["4fT$k9x!!", "Yaml-V4lue"],
        ),
        (
            "postgres://shop:a%24b%2Fc1234@db:5432/x",
            vec!["postgres://shop:a%24b%2Fc1234@db:5432/x", "a%24b%2Fc1234", "a$b/c1234"],
        ),
        ("postgres://db:5432/x?sslmode=on", vec!["postgres://db:5432/x?sslmode=on"]),
        ("Server=Db1;Password=4fT$k9x!!;", vec!["Server=Db1;Password=4fT$k9x!!;", "4fT$k9x!!"]),
        ("\"{\\\"client_secret\\\":\\\"4fT$k9x!!\\\"}\"", vec!["4fT$k9x!!"]),
    ] {
        assert_eq!(texts("x", value), expected, "{value}");
    }
}

#[test]
fn a_long_value_is_looked_for_in_pieces() {
    let value: String = (0..1_000).map(|n| char::from(b'A' + (n * 7 % 26) as u8 + (n % 2 * 32) as u8)).collect();
    let pieces = texts("x", &value);
    assert_eq!(pieces.concat(), value);
    assert!(pieces.iter().all(|piece| (32..=64).contains(&piece.len())));
    let letters = "äöü€🔑".repeat(50);
    let pieces = texts("password", &letters);
    assert_eq!(pieces.concat(), letters, "no letter is cut");
}

proptest! {
    #[test]
    fn property_any_bytes_are_taken_apart_into_parts_of_bounded_length(value in prop::collection::vec(any::<u8>(), 0..400)) {
        for part in parts("password", &value, Mask::Always) {
            prop_assert!((BYTES_LEAST..MASK_PIECE_BYTES + 4).contains(&part.len()));
        }
    }

    /// Nothing that JSON could have as a number, with the comma and the space behind it.
    #[test]
    fn property_numbers_are_never_looked_for(numbers in prop::collection::vec(any::<f64>(), 1..4), whole in any::<i64>()) {
        let text = numbers.iter().map(|number| format!("{number:?}")).collect::<Vec<_>>().join(", ");
        if !text.contains("inf") && !text.contains("NaN") {
            prop_assert!(!is_looked_for("password", text.as_bytes(), Mask::Always));
        }
        prop_assert!(!is_looked_for("password", whole.to_string().as_bytes(), Mask::Always));
    }

    #[test]
    fn property_generated_passwords_are_looked_for(value in "[A-Za-z0-9!#$%&*+,./:;=?@^_|~-]{32}") {
        prop_assert!(is_looked_for("x", value.as_bytes(), Mask::Auto));
    }
}
