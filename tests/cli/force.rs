//! Existing files are overwritten only with `--force`, by every command, and keep their mode.

use std::fs;

use crate::support::files::copy;
use crate::{Folder, command, ran};

/// Every command that writes a named file, with the name of the file.
const WRITERS: [(&str, &str); 9] = [
    (
        "run models/shakespeare/shakespeare.safetensors --input models/shakespeare/passages.safetensors --output out.npz",
        "out.npz",
    ),
    ("describe models/shakespeare/shakespeare.safetensors --output model.json", "model.json"),
    ("convert models/shakespeare/shakespeare.safetensors half.safetensors --precision f16", "half.safetensors"),
    (
        "gradients examples/models/long.json --data examples/long.safetensors --loss cross_entropy --output grad.npz",
        "grad.npz",
    ),
    (
        "gradients examples/models/long.json --data examples/long.safetensors --loss cross_entropy --by-step norms.csv",
        "norms.csv",
    ),
    (
        "gradients examples/models/long.json --data examples/long.safetensors --loss cross_entropy --by-step norms.svg",
        "norms.svg",
    ),
    ("bench --cell rnn --input-size 2 --hidden-size 3 --runs 1 --sweep T=1..2 --plot sweep.svg", "sweep.svg"),
    (
        "train examples/models/long.json --data examples/long.safetensors --loss cross_entropy --epochs 1 --output new.safetensors",
        "new.safetensors",
    ),
    (
        "train examples/models/long.json --data examples/long.safetensors --loss cross_entropy --epochs 1 --history all.csv",
        "all.csv",
    ),
];

#[test]
fn what_is_there_is_written_over_by_force_alone_and_keeps_its_mode() {
    let folder = Folder::new("force");
    let place = folder.path("");
    copy(&["examples", "models"], &place);
    for (text, name) in WRITERS {
        let path = folder.path(name);
        fs::write(&path, "before").unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let run = |flags: &[&str]| ran(command().args(text.split(' ')).args(flags).current_dir(&place));
        assert_eq!(run(&[]).refused(), format!("{name}: already exists; --force overwrites it"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), b"before", "{text}");
        run(&["--force"]).done();
        assert_ne!(fs::read(&path).unwrap(), b"before", "{text}");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o640, "{text}");
        }
    }
}
