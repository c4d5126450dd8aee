//! What a file holds by its first bytes, whatever its name is.
//!
//! Reads nothing else of the file: one that begins well may still be damaged.

use std::fmt;

/// The number of bytes that [`Content::of`] needs at most.
pub const BEGIN_BYTES: usize = 512;

/// The longest header of a `.safetensors` file, as the format defines it.
pub(super) const MOST_HEADER_BYTES: u64 = 100_000_000;

/// How files begin: HDF5, a zip archive, an array of NumPy.
pub(super) const HDF5: &[u8; 8] = b"\x89HDF\r\n\x1a\n";
pub(super) const ZIP: &[u8; 4] = b"PK\x03\x04";
pub(super) const NPY: &[u8; 6] = b"\x93NUMPY";

/// The contents of a file, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// Named tensors: `.safetensors`.
    Safetensors,
    /// HDF5: a Keras model (`.h5`).
    Hdf5,
    /// A zip archive: a Keras model (`.keras`), NumPy arrays (`.npz`), or a file of `torch.save`.
    Zip,
    /// An ONNX graph.
    Onnx,
    /// A NumPy array: `.npy`.
    Npy,
    /// A file of `torch.save` from a PyTorch older than 1.6, which is no archive.
    Torch,
    /// JSON: the description of a model.
    Json,
    /// A pointer of Git LFS instead of the file itself.
    GitLfs,
    /// A web page, as a server sends one instead of a file that it does not give.
    Html,
    /// Any other text.
    Text,
}

impl Content {
    /// Finds the contents of a file that begins with these bytes; `None` if the bytes do not show them.
    pub fn of(begin: &[u8]) -> Option<Self> {
        let begin = &begin[..begin.len().min(BEGIN_BYTES)];
        let starts = |magic: &[u8]| begin.starts_with(magic);
        if let Some((length, header)) = begin.split_first_chunk()
            && header.starts_with(b"{")
            && u64::from_le_bytes(*length) <= MOST_HEADER_BYTES
        {
            return Some(Self::Safetensors);
        }
        match begin {
            _ if starts(HDF5) => Some(Self::Hdf5),
            _ if starts(ZIP) => Some(Self::Zip),
            _ if starts(NPY) => Some(Self::Npy),
            _ if torch_magic(begin).is_some() => Some(Self::Torch),
            _ if starts(b"version https://git-lfs") => Some(Self::GitLfs),
            // The field `ir_version` with a small number, and then another field of an ONNX file's outermost message.
            [8, 1..=64, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..] => Some(Self::Onnx),
            _ if is_text(begin) => match begin.trim_ascii_start() {
                [b'{', ..] => Some(Self::Json),
                [] => None,
                text if is_html(text) => Some(Self::Html),
                _ => Some(Self::Text),
            },
            _ => None,
        }
    }

    /// Returns the end of an error message: what to do with such a file.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Safetensors => "give it a name that ends in .safetensors",
            Self::Hdf5 => "a Keras model has a name that ends in .h5",
            Self::Zip => {
                "a Keras model has a name that ends in .keras, NumPy's arrays one in .npz, a file of torch.save one in .pt"
            }
            Self::Torch => "give it a name that ends in .pt",
            Self::Onnx => "give it a name that ends in .onnx",
            Self::Npy => "give it a name that ends in .npy",
            Self::Json => "a model's description has a name that ends in .json",
            Self::GitLfs => "git lfs pull fetches the file",
            Self::Html => {
                "the server sent a page instead of the file; download it again from the link to the file itself"
            }
            Self::Text => "is it the right file?",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "a .safetensors file",
            Self::Hdf5 => "an HDF5 file",
            Self::Zip => "a zip archive",
            Self::Onnx => "an ONNX graph",
            Self::Npy => "an array of NumPy",
            Self::Torch => "a file of torch.save",
            Self::Json => "JSON",
            Self::GitLfs => "a pointer of Git LFS",
            Self::Html => "a web page",
            Self::Text => "text",
        })
    }
}

/// Returns the length of the pickle of PyTorch's magic number, with which files of a PyTorch older than 1.6 begin.
/// Protocols 2 to 5 differ in what is before the number: the later ones frame it.
pub(super) fn torch_magic(begin: &[u8]) -> Option<usize> {
    const NUMBER: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    let [0x80, 2..=5, rest @ ..] = begin else { return None };
    let rest = rest.strip_prefix(b"\x95\x0d\0\0\0\0\0\0\0").unwrap_or(rest);
    rest.starts_with(NUMBER).then(|| begin.len() - rest.len() + NUMBER.len())
}

/// Returns an error message if a file that begins with these bytes is not `wanted`: what it
/// is instead, and what to do about it. Returns `None` if the bytes do not show what it is.
pub fn mistaken(begin: &[u8], wanted: Content) -> Option<String> {
    none_of(&[wanted], begin, wanted)
}

/// Returns such a message for a file that may have any of the contents
/// in `right`, and that the message calls `wanted`.
pub(super) fn none_of(right: &[Content], begin: &[u8], wanted: impl fmt::Display) -> Option<String> {
    let got = Content::of(begin).filter(|got| !right.contains(got))?;
    Some(format!("expected {wanted}, got {got}; {}", got.hint()))
}

/// Returns the name of the first member of a zip archive that begins with these bytes.
pub(super) fn first_member(begin: &[u8]) -> Option<&[u8]> {
    let &[low, high] = begin.get(26..28)? else { return None };
    begin.get(30..30 + usize::from(u16::from_le_bytes([low, high])))
}

/// Returns what a file is, whose first bytes show `content`: for the end of an error message.
pub fn told(content: Option<Content>, begin: &[u8]) -> String {
    match content {
        Some(content) => content.to_string(),
        None if begin.is_empty() => "an empty file".to_owned(),
        None => "a file of an unknown kind".to_owned(),
    }
}

/// Whether text begins as a web page does.
fn is_html(text: &[u8]) -> bool {
    let starts = |tag: &[u8]| text.get(..tag.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(tag));
    starts(b"<!doctype html") || starts(b"<html")
}

/// Whether the bytes are UTF-8 text without control characters. The last character may be cut off.
fn is_text(begin: &[u8]) -> bool {
    let text = match str::from_utf8(begin) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => str::from_utf8(&begin[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_file_holds() {
        let safetensors = [&2_u64.to_le_bytes()[..], b"{}"].concat();
        // A text whose ninth character is an opening brace would have a header of 2^60 bytes.
        for (begin, wanted) in [
            (&safetensors[..], Some(Content::Safetensors)),
            (b"\x89HDF\r\n\x1a\n\x00\x08", Some(Content::Hdf5)),
            (b"PK\x03\x04\x14\x00", Some(Content::Zip)),
            (b"\x93NUMPY\x01\x00", Some(Content::Npy)),
            (b"\x08\x0a\x12\x07pytorch", Some(Content::Onnx)),
            (b"\x08\x07:\x02", Some(Content::Onnx)),
            (b" \n{\"gatewave\": 1}", Some(Content::Json)),
            (b"version https://git-lfs.github.com/spec/v1\n", Some(Content::GitLfs)),
            (b"\n<!DOCTYPE html>\n<html>", Some(Content::Html)),
            (b"<html lang=\"en\">", Some(Content::Html)),
            (b"<xml>", Some(Content::Text)),
            (b"weights {}", Some(Content::Text)),
            ("na\u{ef}ve".as_bytes(), Some(Content::Text)),
            (b"", None),
            (b"   ", None),
            (b"\x80\x02}q", None),
            (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80", Some(Content::Torch)),
            (&[0; 16], None),
        ] {
            assert_eq!(Content::of(begin), wanted, "{begin:?}");
        }
        let cut = "ä".repeat(BEGIN_BYTES);
        assert_eq!(Content::of(&cut.as_bytes()[..7]), Some(Content::Text));
        assert_eq!(mistaken(&safetensors, Content::Safetensors), None);
    }
}
