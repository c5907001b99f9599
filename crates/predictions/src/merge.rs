//! Joins the shards of a job in its tables, or says what they lack.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use terminal::Interrupt;

use crate::folder::Folder;
use crate::journal::{Journals, rows};
use crate::missing::{Incomplete, Missing, NAMED};
use crate::record::{Part, Record};
use crate::shard::Shard;
use crate::table::{Columns, Tables};

/// What came of joining a job's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The tables hold every row of the job once.
    Complete(Merged),
    /// Rows are missing; nothing was written.
    Incomplete(Incomplete),
}

/// The tables of a complete job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// `predictions.csv`; the others are beside it.
    pub table: PathBuf,
    /// Rows in it.
    pub images: usize,
    /// Those of images that could not be predicted.
    pub failed: usize,
}

/// Joins the shards in a job's folder: writes the tables of a single process, to the byte, if every row of the job is
/// there once. What needs memory is a group of rows, and a piece of each shard.
///
/// # Errors
/// The folder holds no job, parts of several jobs or a damaged one, the tables cannot be written, or
/// [`terminal::Interrupted`]. Tables that are there already stay in that case.
pub fn merge(folder: &Path, interrupt: &Interrupt) -> Result<Merge> {
    let folder = Folder::new(folder);
    let record = Record::read(&folder)
        .with_context(|| format!("{} is not a folder of predictions", folder.path().display()))?;
    let division = record.division();
    let _lock = folder.alone("join.lock")?;
    folder.refuse_other_parts(division)?;
    let (mut parts, mut missing) = (vec![], vec![]);
    for shard in division.shards() {
        match Part::read(&folder, shard, &record)? {
            Some(part) => parts.push(part),
            None => missing.push(lacking(&folder, shard, &record)?),
        }
    }
    if !missing.is_empty() {
        return Ok(Merge::Incomplete(Incomplete {
            images: division.rows,
            shards: division.shards,
            missing,
        }));
    }
    tables(&folder, &record, &parts, interrupt)?;
    Ok(Merge::Complete(Merged {
        table: folder.path().join("predictions.csv"),
        images: division.rows,
        failed: parts.iter().map(|part| part.failed).sum(),
    }))
}

/// Joins the shards if all are complete, which costs little to find out; returns the table.
pub(crate) fn if_complete(
    folder: &Folder,
    record: &Record,
    interrupt: &Interrupt,
) -> Result<Option<PathBuf>> {
    let mut shards = record.division().shards();
    if !shards.all(|shard| folder.part_record(shard).exists()) {
        return Ok(None);
    }
    Ok(match merge(folder.path(), interrupt)? {
        Merge::Complete(merged) => Some(merged.table),
        Merge::Incomplete(_) => None,
    })
}

fn lacking(folder: &Folder, shard: Shard, record: &Record) -> Result<Missing> {
    let (part, division) = (folder.part(shard), record.division());
    let there = match part.exists() {
        true => rows(&part, division.batches(shard))?,
        false => 0,
    };
    let images = division.rows_of(shard);
    let first = division.batches(shard).flatten().skip(there);
    Ok(Missing {
        shard,
        images,
        missing: images - there,
        first: first.take(NAMED).collect(),
    })
}

fn tables(folder: &Folder, record: &Record, parts: &[Part], interrupt: &Interrupt) -> Result<()> {
    // What killed processes were writing; none writes any more.
    files::sweep_tree(folder.path());
    let division = record.division();
    let paths = division.shards().map(|shard| folder.part(shard));
    let mut journals = Journals::open(paths.collect());
    let columns = Columns::of(record.layout());
    let unwritable = || {
        format!(
            "cannot write the tables in {} (is the disk full?); the same command goes on from there",
            folder.path().display()
        )
    };
    let mut tables = Tables::create(folder.path(), &columns).with_context(unwritable)?;
    for row in 0..division.rows {
        interrupt.check()?;
        let (line, found) = journals.next(division.owner(row), row)?;
        tables.push(line, &found).with_context(unwritable)?;
    }
    unchanged(folder, record, parts, journals.finish()?)?;
    tables.finish().with_context(unwritable)
}

/// Refuses journals whose checksums are not those of the records.
fn unchanged(folder: &Folder, record: &Record, parts: &[Part], sums: Vec<String>) -> Result<()> {
    for ((shard, part), sum) in record.division().shards().zip(parts).zip(sums) {
        ensure!(
            sum == part.sha256,
            "{} is not what {} says (damaged, or not copied completely); remove both and predict shard {shard} again",
            folder.part(shard).display(),
            folder.part_record(shard).display()
        );
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::{Journal, Outcome, Row};
    use crate::shard::Division;

    const TABLES: [&str; 3] = [
        "predictions.csv",
        "predictions.jsonl",
        "predictions.parquet",
    ];

    /// Every seventh image cannot be predicted.
    fn row(row: usize) -> Row {
        let image = format!("films/{row}.png");
        let outcome = match row % 7 {
            6 => Outcome::Failed {
                image,
                error: "no image".into(),
            },
            _ => Outcome::Predicted(
                serde_json::from_value(serde_json::json!({
                    "image": image, "image_sha256": "22".repeat(32), "original_size": [64, 48],
                    "class": "PNEUMONIA", "members": [], "bias": [0.0, 0.0], "temperature": 1.5,
                    "probabilities": [
                        { "class": "NORMAL", "probability": 1.0 / (row + 3) as f64 },
                        { "class": "PNEUMONIA", "probability": 1.0 - 1.0 / (row + 3) as f64 },
                    ],
                    "mirrored": true, "precision": "f32", "trained_on_phantoms": true, "preprocessing": [],
                    "weights_sha256": "00".repeat(32), "versions": ["0.1.0", "0.1.0"], "certainty": 0.97,
                    "green_share": 0.25, "overlay": format!("images/{row}.overlay.png"),
                }))
                .unwrap(),
            ),
        };
        Row { row, outcome }
    }

    /// A job of 37 images whose shards have all been predicted.
    struct Finished {
        root: tempfile::TempDir,
        folder: Folder,
        division: Division,
    }

    fn finished(shards: usize) -> Finished {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        let (rows, batch) = (37, 4);
        let division = Division {
            rows,
            batch,
            shards,
        };
        fs::create_dir(folder.parts()).unwrap();
        let job = Record::example(division);
        job.write(&folder).unwrap();
        for shard in division.shards() {
            let path = folder.part(shard);
            let mut journal = Journal::open(&path, division.batches(shard)).unwrap();
            for rows in division.batches(shard) {
                journal.append(&rows.map(row).collect::<Vec<_>>()).unwrap();
            }
            let part = Part {
                failed: journal.failed,
                sha256: files::sha256::of_file(&path).unwrap(),
                job: job.clone(),
            };
            part.write(&folder, shard).unwrap();
        }
        Finished {
            root,
            folder,
            division,
        }
    }

    impl Finished {
        fn merge(&self) -> Result<Merge> {
            merge(self.root.path(), &Interrupt::default())
        }

        fn shard(&self, index: usize) -> Shard {
            Shard::new(index, self.division.shards).unwrap()
        }

        fn edit(&self, path: &Path, edited: impl Fn(String) -> String) {
            fs::write(path, edited(fs::read_to_string(path).unwrap())).unwrap();
        }

        /// Merging fails, says these words, and leaves the tables and nothing else.
        fn refused(&self, parts: &[&str]) {
            let path = |name: &str| self.root.path().join(name);
            TABLES
                .iter()
                .for_each(|name| fs::write(path(name), "old").unwrap());
            let error = format!("{:#}", self.merge().unwrap_err());
            let said = parts.iter().all(|part| error.contains(part));
            assert!(said, "{parts:?}: {error}");
            for name in TABLES {
                assert_eq!(fs::read_to_string(path(name)).unwrap(), "old");
            }
            assert_eq!(
                fs::read_dir(self.root.path()).unwrap().count(),
                5,
                "{error}"
            );
        }
    }

    #[test]
    fn shards_give_the_tables_of_one_process() {
        let one = finished(1);
        // 12 shards of 10 batches: two have nothing to do.
        for shards in [1, 3, 8, 12] {
            let several = finished(shards);
            let merged = several.merge().unwrap();
            let table = several.root.path().join("predictions.csv");
            let (images, failed) = (37, 5);
            assert_eq!(
                merged,
                Merge::Complete(Merged {
                    table,
                    images,
                    failed
                })
            );
            one.merge().unwrap();
            for name in TABLES {
                let read = |job: &Finished| fs::read(job.root.path().join(name)).unwrap();
                assert!(read(&one) == read(&several), "{name} of {shards} shards");
            }
        }
        let lines = fs::read_to_string(one.root.path().join("predictions.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 37);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_written() {
        let job = finished(8);
        let (folder, old) = (&job.folder, job.root.path().join("predictions.csv"));
        fs::write(&old, "old").unwrap();
        // Not begun; stopped within the last line; stopped after it.
        fs::remove_file(folder.part(job.shard(3))).unwrap();
        job.edit(&folder.part(job.shard(2)), |text| {
            let lines: Vec<&str> = text.lines().take(6).collect();
            lines.join("\n")
        });
        for index in [2, 3, 4] {
            fs::remove_file(folder.part_record(job.shard(index))).unwrap();
        }
        let Merge::Incomplete(incomplete) = job.merge().unwrap() else {
            panic!("it is complete");
        };
        let said = incomplete.to_string();
        for part in [
            "3 of 8 shards are incomplete, and 5 of 37 images missing",
            "shard 2/8: 1 of 5 images missing, rows 36 (",
            "shard 3/8: 4 of 4 images missing, rows 8, 9, 10, 11 (",
            "shard 4/8: stopped after its last image",
            "again: 2-4",
        ] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert!(!job.root.path().join("predictions.jsonl").exists());
    }

    #[test]
    fn parts_of_other_jobs_are_refused() {
        let changes = [
            ("\"f32\"", "\"int8\"", "the precisions"),
            ("00000000", "00000001", "the networks"),
            ("11111111", "11111112", "the images"),
            (
                "\"pictures\": true",
                "\"pictures\": false",
                "the pictures wanted",
            ),
            (
                "\"version\": \"",
                "\"version\": \"9",
                "the program's version",
            ),
        ];
        for (from, to, differs) in changes {
            let job = finished(3);
            let record = job.folder.part_record(job.shard(2));
            job.edit(&record, |text| text.replacen(from, to, 1));
            job.refused(&["2-of-3.json", "another job", differs]);
        }
        let job = finished(3);
        fs::write(job.folder.parts().join("1-of-4.jsonl"), "").unwrap();
        job.refused(&["1-of-4.jsonl", "3 shards"]);
        let job = finished(3);
        job.edit(&job.folder.record(), |text| {
            text.replace("\"shards\": 3", "\"shards\": 0")
        });
        job.refused(&["job.json", "damaged"]);
    }

    #[test]
    fn every_row_is_there_once_as_it_was_predicted() {
        let part = |job: &Finished| job.folder.part(job.shard(2));
        let check = |edited: &dyn Fn(String) -> String, words: &str| {
            let job = finished(3);
            job.edit(&part(&job), edited);
            job.refused(&["2-of-3.jsonl", words]);
        };
        check(
            &|text| text.replacen("PNEUMONIA", "PNEUMONIB", 1),
            "predict shard 2/3 again",
        );
        check(
            &|text| text.replacen("\"row\":5,", "\"row\":4,", 1),
            "row 5 is expected",
        );
        check(
            &|text| text.replacen('{', "[", 1),
            "the line of row 4 is damaged",
        );
        check(
            &|text| text.clone() + text.lines().last().unwrap() + "\n",
            "goes on after its last row",
        );
        check(&|text| text[..text.len() - 1].into(), "incomplete");
        check(
            &|text| {
                text[..text.len() / 2]
                    .rsplit_once('\n')
                    .unwrap()
                    .0
                    .to_owned()
                    + "\n"
            },
            "ends before row",
        );
        let job = finished(3);
        fs::remove_file(part(&job)).unwrap();
        job.refused(&["cannot read", "2-of-3.jsonl"]);
    }

    #[test]
    fn an_interrupted_merge_and_one_of_no_job_write_nothing() {
        let job = finished(3);
        let interrupt = Interrupt::default();
        interrupt.raise();
        merge(job.root.path(), &interrupt).unwrap_err();
        assert_eq!(fs::read_dir(job.root.path()).unwrap().count(), 2);
        let none = tempfile::tempdir().unwrap();
        let error = format!("{:#}", merge(none.path(), &interrupt).unwrap_err());
        assert!(error.contains("not a folder of predictions"), "{error}");
        assert_eq!(fs::read_dir(none.path()).unwrap().count(), 0);
    }
}
