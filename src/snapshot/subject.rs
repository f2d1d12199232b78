//! Subjects with wildcards against each other.

/// Whether every subject that matches `needed` also matches `pattern`.
pub fn covers(pattern: &str, needed: &str) -> bool {
    let mut needed = needed.split('.');
    for token in pattern.split('.') {
        match (token, needed.next()) {
            (">", Some(_)) => return true,
            (_, None | Some(">")) => return false,
            ("*", Some(_)) => {}
            (literal, Some(other)) if literal == other => {}
            _ => return false,
        }
    }
    needed.next().is_none()
}

/// Whether some subject matches both patterns.
pub fn overlaps(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (None, _) | (_, None) => return false,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}
