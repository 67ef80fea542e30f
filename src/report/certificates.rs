//! The list of certificates: one table per node, and those that have expired or expire soon.

use super::stream::Paint;
use super::text::{clean, count, fit, pad, pad_left, widest};
use crate::event::CertificateFound;

const DAY: i64 = 86_400;

/// Returns all certificates in groups: the lab directory's first, then node by node.
pub(super) fn table(
    all: &[CertificateFound],
    within: i64,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let file = widest(all.iter().map(|one| one.file.as_str()));
    let subjects: Vec<String> = all.iter().map(|one| clean(&one.subject)).collect();
    let issuers: Vec<String> = all.iter().map(|one| clean(&one.issuer)).collect();
    let lefts: Vec<String> = all.iter().map(left).collect();
    let widths =
        [&subjects, &issuers, &lefts].map(|column| widest(column.iter().map(String::as_str)));
    let mut lines = Vec::new();
    let mut last: Option<&Option<String>> = None;
    for (index, one) in all.iter().enumerate() {
        if last != Some(&one.node) {
            if last.is_some() {
                lines.push(String::new());
            }
            lines.push(paint.strong(one.node.as_deref().unwrap_or("lab directory")));
            last = Some(&one.node);
        }
        let left = pad_left(&lefts[index], widths[2]);
        let left = match one.seconds_left {
            left_over if left_over < 0 => paint.bad(&left),
            left_over if left_over < within => paint.warn(&left),
            _ => paint.good(&left),
        };
        // How long it is valid comes before what does not fit into a narrow terminal.
        let line = format!(
            "  {}  {left}  {}  {}  {}",
            pad(&one.file, file),
            pad(&subjects[index], widths[0]),
            paint.faint(&pad(&issuers[index], widths[1])),
            paint.faint(&clean(&one.names.join(", ")))
        );
        lines.push(fit(line.trim_end(), width.saturating_sub(1)));
    }
    lines
}

/// Lists what has expired or expires soon, one per line below a heading with the count; empty if
/// nothing does.
pub(super) fn ending(all: &[CertificateFound], within: i64, paint: Paint) -> Vec<String> {
    let ended: Vec<&CertificateFound> = all.iter().filter(|one| one.seconds_left < 0).collect();
    let soon: Vec<&CertificateFound> =
        all.iter().filter(|one| (0..within).contains(&one.seconds_left)).collect();
    let mut lines = Vec::new();
    let mut tell = |which: &[&CertificateFound], sentence: String| {
        if !which.is_empty() {
            lines.push(sentence);
            lines.extend(which.iter().map(|one| {
                let place = one.node.as_deref().unwrap_or("lab directory");
                format!("  {place}: {}, {}: {}", one.file, clean(&one.subject), left(one))
            }));
        }
    };
    let verb = |number: usize, one: &str, many: &str| {
        if number == 1 { one.to_owned() } else { many.to_owned() }
    };
    let number = format!("{} of {}", ended.len(), count(all.len(), "certificate"));
    tell(&ended, paint.bad(&format!("{number} {} expired:", verb(ended.len(), "has", "have"))));
    let number = format!("{} of {}", soon.len(), count(all.len(), "certificate"));
    let time = span(within);
    tell(
        &soon,
        paint.warn(&format!("{number} {} within {time}:", verb(soon.len(), "expires", "expire"))),
    );
    lines
}

/// Returns the remaining validity of a certificate: in days, or in hours or minutes when it expires
/// soon.
fn left(one: &CertificateFound) -> String {
    if one.seconds_left < 0 {
        return format!("EXPIRED {} ago", span(-one.seconds_left));
    }
    span(one.seconds_left)
}

fn span(seconds: i64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => count(usize::try_from(seconds / DAY).unwrap_or(0), "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(node: Option<&str>, file: &str, seconds_left: i64) -> CertificateFound {
        CertificateFound {
            node: node.map(str::to_owned),
            file: file.to_owned(),
            subject: "CN=kube-apiserver".to_owned(),
            issuer: "CN=kubernetes".to_owned(),
            names: vec!["lb-0".to_owned(), "10.240.0.5".to_owned()],
            is_ca: false,
            not_before: String::new(),
            not_after: String::new(),
            days_left: seconds_left / DAY,
            seconds_left,
        }
    }

    #[test]
    fn remaining_validity_has_a_fitting_unit() {
        let written: Vec<String> = [364 * DAY + 5, 2 * DAY, 2 * DAY - 60, 3_600, 150, 9]
            .map(|left_over| left(&found(None, "a", left_over)))
            .into();
        assert_eq!(written, ["364 days", "2 days", "47h 59m", "1h 00m", "2m 30s", "9s"]);
        assert_eq!(left(&found(None, "a", -90)), "EXPIRED 1m 30s ago");
        assert_eq!(left(&found(None, "a", -400 * DAY)), "EXPIRED 400 days ago");
    }

    #[test]
    fn each_place_has_a_table_and_expiring_certificates_are_listed() {
        let all = [
            found(None, "pki/apiserver.crt", 400 * DAY),
            found(Some("controller-0"), "/etc/kubernetes/pki/apiserver.crt", 10 * DAY),
            found(Some("controller-0"), "/etc/kubernetes/admin.conf", -3_700),
        ];
        let plain = Paint::new(false);
        assert_eq!(
            table(&all, 30 * DAY, usize::MAX, plain).join("\n"),
            "\
lab directory
  pki/apiserver.crt                            400 days  CN=kube-apiserver  CN=kubernetes  lb-0, \
            10.240.0.5

controller-0
  /etc/kubernetes/pki/apiserver.crt             10 days  CN=kube-apiserver  CN=kubernetes  lb-0, \
            10.240.0.5
  /etc/kubernetes/admin.conf         EXPIRED 1h 01m ago  CN=kube-apiserver  CN=kubernetes  lb-0, \
            10.240.0.5"
        );
        assert_eq!(
            ending(&all, 30 * DAY, plain).join("\n"),
            "\
1 of 3 certificates has expired:
  controller-0: /etc/kubernetes/admin.conf, CN=kube-apiserver: EXPIRED 1h 01m ago
1 of 3 certificates expires within 30 days:
  controller-0: /etc/kubernetes/pki/apiserver.crt, CN=kube-apiserver: 10 days"
        );
        assert_eq!(ending(&all[..1], 30 * DAY, plain), [""; 0]);
        for width in [120, 80] {
            let text = table(&all, 30 * DAY, width, plain).join("\n");
            insta::assert_snapshot!(format!("certificates_{width}"), text);
        }
    }
}
