//! How blobs get to a node: the header of each, and the shell that receives them.

use crate::module::STATE_FOLDER;
use crate::module::file::Blob;
use crate::module::probe::notes;
use crate::node::{BESIDE, RECEIVE};

/// Returns the header of a blob. It has a fixed length, so that the receiver knows where it ends.
/// `give` in gate.sh writes the same.
pub(super) fn header(sha256: &str, form: &str, size: u64) -> String {
    format!("{sha256} {form:<3} {size:>18}\n")
}

/// The length of a [`header`].
const HEADER: usize = 64 + 1 + 3 + 1 + 18 + 1;

/// Returns the node's side: the shell function `receive` that reads `blobs` from stdin into the
/// store. If `keep` is a directory, compressed blobs are also kept there for other nodes.
pub(super) fn receiver(keep: Option<&str>, blobs: &[Blob]) -> String {
    let expected: String =
        blobs.iter().map(|blob| format!(" {}:{}", blob.sha256, blob.size)).collect();
    format!(
        "{}store={STATE_FOLDER}/blobs\nbeside={BESIDE}\nkeep={}\nexpected='{expected} '\n\
         header_length={HEADER}\n{RECEIVE}",
        notes(),
        keep.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::*;
    use crate::module::file::Content;

    /// Runs a node's side for `blobs` on the bytes that a sender sends.
    fn received(node: &Path, keeps: bool, blobs: &[Blob], sent: &[u8]) -> Output {
        let keep = node.join("run").display().to_string();
        std::fs::create_dir_all(&keep).expect("a directory");
        let state = node.join("state").display().to_string();
        let beside = node.join("beside").display().to_string();
        let text = receiver(Some(&*keep).filter(|_| keeps), blobs)
            .replace(STATE_FOLDER, &state)
            .replace(BESIDE, &beside);
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{text}receive\n")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = shell.stdin.take().expect("a pipe");
        // A node that refuses does not read to the end.
        let _ = input.write_all(sent);
        drop(input);
        shell.wait_with_output().expect("an end")
    }

    fn blob(bytes: &[u8]) -> Blob {
        let sha256 = Content::inline(bytes.to_vec()).sha256().to_owned();
        Blob { sha256, size: bytes.len() as u64, source: "/b".into(), name: "b".into() }
    }

    fn message(form: &str, sha256: &str, size: u64, bytes: &[u8]) -> Vec<u8> {
        [header(sha256, form, size).as_bytes(), bytes].concat()
    }

    /// Returns every file below `folder`, with its size.
    fn files(folder: &Path) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let about = entry.metadata().expect("it is there");
            if about.is_dir() {
                all.extend(files(&entry.path()));
            } else {
                all.push((entry.file_name().to_string_lossy().into_owned(), about.len()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn expected_blobs_arrive_raw_and_packed_and_are_kept_for_others() {
        let node = tempfile::tempdir().expect("a directory");
        let (one, two) = (b"one ".repeat(50_000), b"two ".repeat(50_000));
        let packed = zstd::encode_all(&two[..], 3).expect("packed");
        let blobs = [blob(&one), blob(&two)];
        let sent = [
            message("raw", &blobs[0].sha256, blobs[0].size, &one),
            message("zst", &blobs[1].sha256, packed.len() as u64, &packed),
        ];
        let output = received(node.path(), true, &blobs, &sent.concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for blob in &blobs {
            assert!(said.contains(&format!("@blob {}", blob.sha256)), "{said}");
            let size = std::fs::metadata(node.path().join("state/blobs").join(&blob.sha256))
                .expect("a blob")
                .len();
            assert_eq!(size, blob.size);
        }
        let kept = std::fs::read(node.path().join("run").join(format!("{}.zst", blobs[1].sha256)))
            .expect("kept");
        assert!(kept == packed);
    }

    #[test]
    fn what_is_beside_a_node_is_copied_and_checked() {
        let node = tempfile::tempdir().expect("a directory");
        let (one, two) = (b"one ".repeat(50_000), b"two ".repeat(50_000));
        let blobs = [blob(&one), blob(&two)];
        let beside = node.path().join("beside");
        std::fs::create_dir(&beside).expect("a directory");
        std::fs::write(beside.join(&blobs[0].sha256), &one).expect("a file");
        std::fs::write(beside.join(&blobs[1].sha256), &one).expect("another file");
        let put = |blob: &Blob| message("box", &blob.sha256, blob.size, b"");
        let output = received(node.path(), false, &blobs, &blobs.each_ref().map(put).concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("@blob {}\n", blobs[0].sha256), "what it says, it has checked");
        let store = files(&node.path().join("state/blobs"));
        assert_eq!(store, [(blobs[0].sha256.clone(), blobs[0].size)]);
        // One that is not there ends the push, and nothing of it stays.
        std::fs::remove_file(beside.join(&blobs[1].sha256)).expect("it was there");
        let output = received(node.path(), false, &blobs[1..], &put(&blobs[1]));
        assert!(String::from_utf8_lossy(&output.stderr).contains("could not be written"));
        assert_eq!(files(&node.path().join("state/blobs")).len(), 1);
    }

    #[test]
    fn a_lying_sender_changes_no_file_and_uses_no_space() {
        let bytes = b"what was asked for ".repeat(1000);
        let wanted = blob(&bytes);
        let (sha, size) = (wanted.sha256.as_str(), wanted.size);
        let zeros = vec![0; 64 << 20];
        let bomb = zstd::encode_all(&zeros[..], 3).expect("packed");
        let other = blob(b"nobody asked");
        // A path in a header of the right length.
        let path = |path: &str| {
            format!("{path:<64} zst {:>18}\n", 6).replace("  zst", " x zst").into_bytes()
        };
        let lies: [(&str, Vec<u8>, &str); 11] = [
            ("a path", [path("./../../victim"), b"666666".to_vec()].concat(), "not a blob"),
            ("a short line", b"./../../victim zst 6\n666666".to_vec(), "not a blob"),
            ("an endless line", vec![b'a'; 64 << 20], "not a blob"),
            (
                "another blob",
                message("raw", &other.sha256, other.size, b"nobody asked"),
                "nobody asked for",
            ),
            ("a pattern", message("raw", &"*".repeat(64), 4, b"four"), "nobody asked for"),
            ("too much", message("raw", sha, 64 << 20, &zeros), "for a blob of"),
            (
                "a size that is none",
                format!("{sha} raw {:>18}\n", "$(id)").into_bytes(),
                "without a size",
            ),
            ("a form that is none", message("tar", sha, size, &bytes), "could not be written"),
            ("other bytes", message("raw", sha, size, &vec![b'x'; bytes.len()]), ""),
            ("a bomb", message("zst", sha, bomb.len() as u64, &bomb), ""),
            (
                "the same again",
                [message("raw", sha, size, &bytes), message("raw", sha, size, &bytes)].concat(),
                "nobody",
            ),
        ];
        for (name, sent, why) in lies {
            for keeps in [false, true] {
                let node = tempfile::tempdir().expect("a directory");
                std::fs::write(node.path().join("victim"), "as it was").expect("a file");
                let output = received(node.path(), keeps, std::slice::from_ref(&wanted), &sent);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains(why), "{name}: {said}");
                let victim =
                    std::fs::read_to_string(node.path().join("victim")).expect("it is still there");
                assert_eq!(victim, "as it was", "{name}");
                let left: u64 = files(node.path()).iter().map(|(_, size)| size).sum();
                assert!(left < size + 1000, "{name} leaves {:?}", files(node.path()));
                let whole = String::from_utf8_lossy(&output.stdout).lines().count();
                assert_eq!(whole, usize::from(name == "the same again"), "{name}");
            }
        }
    }
}
