//! What the user names → the images to predict: files, folders, patterns, tables, and a list on stdin.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

/// An image of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The file, as the user named or as a folder contains it.
    pub path: PathBuf,
    /// The path of its results below the job's folder, without their endings: the tree of the images, from the lowest
    /// folder that contains all of them.
    pub name: PathBuf,
}

/// The images of a job.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// In the order in which they were named, those of a folder by path; each once.
    pub images: Vec<Image>,
    /// What the user should know about the files that are not among them.
    pub notes: Vec<String>,
}

/// The column of a table that holds paths, unless another is named.
const COLUMN: &str = "image";

/// Finds the images: each of `named` is a file, a folder, a pattern (`films/**/*.png`), a table (`.csv`, `.tsv` or
/// `.parquet`) with a column of paths relative to the table's folder, or `-`, a list of paths on stdin, one a line.
/// A file that does not exist is among the images, and will be a row with this as its reason.
///
/// # Errors
/// A folder or table that cannot be read, a table without the column, a pattern that is none, and no image at all.
pub fn find(named: &[PathBuf], column: Option<&str>, stdin: &mut dyn Read) -> Result<Inputs> {
    let (mut paths, mut notes) = (vec![], vec![]);
    for named in named {
        let found = of_one(named, column, stdin, &mut notes)?;
        if found.is_empty() {
            bail!("no images in {}", named.display());
        }
        paths.extend(found);
    }
    let total = paths.len();
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(absolute(path)));
    // As much memory as the paths, of which there may be millions.
    drop(seen);
    if paths.len() < total {
        let twice = total - paths.len();
        notes.push(format!(
            "{twice} of {total} images are named more than once, and predicted once"
        ));
    }
    let names = names(&paths);
    let images = paths.into_iter().zip(names);
    Ok(Inputs {
        images: images.map(|(path, name)| Image { path, name }).collect(),
        notes,
    })
}

fn of_one(
    named: &Path,
    column: Option<&str>,
    stdin: &mut dyn Read,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>> {
    if named == Path::new("-") {
        return listed(stdin);
    }
    if named.is_dir() {
        return of_folder(named, notes);
    }
    let extension = named.extension().unwrap_or_default().to_ascii_lowercase();
    let relative = match extension.to_str() {
        Some("csv") => of_csv(named, b',', column)?,
        Some("tsv") => of_csv(named, b'\t', column)?,
        Some("parquet") => of_parquet(named, column)?,
        _ if !named.exists() && is_pattern(named) => return of_pattern(named),
        _ => return Ok(vec![named.into()]),
    };
    let folder = named.parent().unwrap_or(Path::new(""));
    Ok(relative.iter().map(|path| folder.join(path)).collect())
}

fn listed(stdin: &mut dyn Read) -> Result<Vec<PathBuf>> {
    let mut text = String::new();
    let read = stdin.read_to_string(&mut text);
    read.context("the list of images on stdin cannot be read (it must be UTF-8, one path a line)")?;
    let lines = text.lines().map(str::trim);
    Ok(lines
        .filter(|line| !line.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn of_folder(folder: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    let (images, left_out) = dataset::images_below(folder)?;
    let left_out = left_out.iter();
    let left_out: Vec<String> = left_out
        .map(|group| format!("{} {}", group.files, group.what))
        .collect();
    if !left_out.is_empty() {
        let (folder, left_out) = (folder.display(), left_out.join(", "));
        notes.push(format!("{folder}: not images, and left out: {left_out}"));
    }
    Ok(images)
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn of_pattern(pattern: &Path) -> Result<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let found = glob::glob(&text).with_context(|| format!("{text:?} is not a pattern"))?;
    let mut files = vec![];
    for path in found {
        let path = path.with_context(|| format!("{text}: a folder cannot be listed"))?;
        files.extend(path.is_file().then_some(path));
    }
    Ok(files)
}

fn of_csv(table: &Path, delimiter: u8, column: Option<&str>) -> Result<Vec<String>> {
    let unreadable = || format!("cannot read {}", table.display());
    let bytes = std::fs::read(table).with_context(unreadable)?;
    let text =
        dataset::table_text(&bytes).map_err(|reason| anyhow!("{}: {reason}", table.display()))?;
    let delimiter = match text.lines().next() {
        // As spreadsheets save it where the decimal sign is a comma.
        Some(first) if delimiter == b',' && !first.contains(',') && first.contains(';') => b';',
        _ => delimiter,
    };
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().with_context(unreadable)?;
    let at = chosen(table, header.iter().collect(), column)?;
    let paths = reader.records().map(|record| {
        let record = record.with_context(unreadable)?;
        let path = record.get(at).unwrap_or_default().trim();
        let line = record.position().map_or(0, csv::Position::line);
        match path.is_empty() {
            true => bail!("{}: line {line} names no image", table.display()),
            false => Ok(path.replace('\\', "/")),
        }
    });
    paths.collect()
}

fn of_parquet(table: &Path, column: Option<&str>) -> Result<Vec<String>> {
    let unreadable = || format!("cannot read {}", table.display());
    let file = std::fs::File::open(table).with_context(unreadable)?;
    let reader = SerializedFileReader::new(file).with_context(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let names = schema.get_fields().iter().map(|field| field.name());
    let at = chosen(table, names.collect(), column)?;
    let rows = reader.get_row_iter(None).with_context(unreadable)?;
    let paths = rows.enumerate().map(|(i, row)| {
        let row = row.with_context(unreadable)?;
        match row.get_column_iter().nth(at) {
            Some((_, Field::Str(path))) if !path.is_empty() => Ok(path.replace('\\', "/")),
            _ => bail!("{}: row {} names no image", table.display(), i + 1),
        }
    });
    paths.collect()
}

/// The index of the column that holds paths.
fn chosen(table: &Path, header: Vec<&str>, column: Option<&str>) -> Result<usize> {
    let wanted = column.unwrap_or(COLUMN);
    let found = header.iter().position(|name| name.trim() == wanted);
    found.with_context(|| {
        format!(
            "{} has no column {wanted:?}; its columns are {}; name the one that holds paths with --column NAME",
            table.display(),
            header.join(", ")
        )
    })
}

/// An absolute path without `.` and `..`, which does not follow links.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            component => plain.push(component),
        }
    }
    plain
}

/// The path of each image's results, relative and different from all others.
fn names(paths: &[PathBuf]) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| absolute(path)).collect();
    let shared = |shared: Option<PathBuf>, path: &PathBuf| {
        let folder = path.parent().unwrap_or(Path::new(""));
        Some(match shared {
            None => folder.to_owned(),
            Some(shared) => common(&shared, folder),
        })
    };
    let root = paths.iter().fold(None, shared).unwrap_or_default();
    let relative = paths
        .into_iter()
        .map(|path| match path.strip_prefix(&root) {
            Ok(inside) => inside.to_owned(),
            Err(_) => path,
        });
    pipeline::beside(&relative.collect::<Vec<_>>(), None)
}

/// The lowest folder above both.
fn common(a: &Path, b: &Path) -> PathBuf {
    let both = a.components().zip(b.components());
    both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn found(named: &[PathBuf], column: Option<&str>, stdin: &str) -> Result<Inputs> {
        find(named, column, &mut stdin.as_bytes())
    }

    fn shown(inputs: &Inputs) -> Vec<String> {
        let images = inputs.images.iter();
        images
            .map(|image| image.name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn folders_patterns_tables_and_lists_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in [
            "a/x.png",
            "a/b/x.png",
            "a/notes.txt",
            "a/y.overlay.png",
            "c.jpg",
        ] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), b"").unwrap();
        }
        let below = found(&[root.join("a")], None, "").unwrap();
        assert_eq!(shown(&below), ["b/x", "x"]);
        let note = &below.notes[0];
        assert!(
            note.contains("1 .txt") && note.contains("1 *.overlay.png"),
            "{note}"
        );
        let pattern = found(&[root.join("**/*.png")], None, "").unwrap();
        assert_eq!(shown(&pattern), ["b/x", "x", "y.overlay"]);
        std::fs::write(root.join("t.csv"), "id;image\n1;a\\x.png\n2;\"c.jpg\"\n").unwrap();
        assert_eq!(
            shown(&found(&[root.join("t.csv")], None, "").unwrap()),
            ["a/x", "c"]
        );
        std::fs::write(root.join("u.tsv"), "\u{FEFF}file\timage\na/x.png\t-\n").unwrap();
        let named = found(&[root.join("u.tsv")], Some("file"), "").unwrap();
        assert_eq!(shown(&named), ["x"]);
        let list = format!(
            "{0}/a/x.png\r\n\n{0}/a/../a/x.png\n{0}/gone.png\n",
            root.display()
        );
        let listed = found(&[PathBuf::from("-")], None, &list).unwrap();
        assert_eq!(shown(&listed), ["a/x", "gone"]);
        assert!(listed.notes[0].contains("1 of 3"), "{:?}", listed.notes);
    }

    #[test]
    fn results_of_all_images_have_names_of_their_own() {
        let paths = [
            "/d/p1/x.png",
            "/d/p1/x.jpg",
            "/d/p2/x.png",
            "/d/p2/../p3/x.png",
        ];
        let names = names(&paths.map(PathBuf::from));
        let distinct: HashSet<&PathBuf> = names.iter().collect();
        assert_eq!(distinct.len(), 4, "{names:?}");
        assert_eq!(names[2..], [PathBuf::from("p2/x"), PathBuf::from("p3/x")]);
        assert!(names.iter().all(|name| name.is_relative()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::write(root.join("t.csv"), "id,path\n1,x.png\n").unwrap();
        std::fs::write(root.join("u.csv"), "image,id\nx.png,1\n\"\",2\n").unwrap();
        std::fs::write(root.join("v.parquet"), "no").unwrap();
        for (name, parts) in [
            ("empty", ["no images in", "empty"]),
            ("t.csv", ["no column \"image\"", "--column"]),
            ("u.csv", ["u.csv", "line 3"]),
            ("v.parquet", ["cannot read", "v.parquet"]),
            ("none*.png", ["no images in", "none*.png"]),
            ("gone.csv", ["cannot read", "gone.csv"]),
        ] {
            let error = format!("{:#}", found(&[root.join(name)], None, "").unwrap_err());
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{name}: {error}"
            );
        }
        assert!(found(&[PathBuf::from("-")], None, "\n").is_err());
    }
}
