//! A second index opens only what has changed, and yields what an index without a cache yields.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::dicom::{Planted, write};
use crate::common::{config, half, kaggle_like, mask, picture, save};
use dataset::{
    DataLayout, Eda, EdaConfig, IndexConfig, Manifest, MaskConfig, SplitFolders, SplitPolicy,
    Splits, index, index_part,
};
use imaging::{Decoder, Window};

/// A data folder with masks, and a folder for the cache.
struct Home(tempfile::TempDir);

impl Home {
    /// Images with masks (two of them missing, one bad) and a bad image, all of them old.
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        kaggle_like(&home.images(), [4, 2, 2]);
        for (i, file) in files(&home.images()).iter().enumerate().skip(2) {
            let mask = home.masks().join(file.strip_prefix(home.images()).unwrap());
            save(&half(), &mask.with_extension("png"));
            if i == 5 {
                fs::write(mask.with_extension("png"), b"no mask").unwrap();
            }
        }
        fs::write(home.images().join("train/NORMAL/bad.png"), b"no image").unwrap();
        home.age();
        home
    }

    fn images(&self) -> PathBuf {
        self.0.path().join("images")
    }

    fn masks(&self) -> PathBuf {
        self.0.path().join("masks")
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn config(&self) -> IndexConfig {
        IndexConfig {
            masks: Some(MaskConfig::tree(self.masks())),
            cache: Some(self.cache()),
            ..config(&self.images())
        }
    }

    /// Gives all files of images and masks a time in the past, by which they are trusted.
    fn age(&self) {
        for file in files(&self.images()).iter().chain(&files(&self.masks())) {
            set_time(
                file,
                SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_123),
            );
        }
    }
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn set_time(file: &Path, time: SystemTime) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(time).unwrap();
}

/// Changes a file's content so that size and time stay: only who opens it notices.
fn change_unnoticed(file: &Path) {
    let (bytes, time) = (
        fs::read(file).unwrap(),
        fs::metadata(file).unwrap().modified().unwrap(),
    );
    fs::write(file, vec![b'?'; bytes.len()]).unwrap();
    set_time(file, time);
}

/// Everything that a manifest says besides its rows.
fn all(manifest: &Manifest) -> String {
    let eda = Eda::new(manifest, &EdaConfig::default()).unwrap();
    let splits = Splits::new(manifest, &SplitPolicy::Official, None);
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("manifest.csv");
    manifest.write_csv(&csv).unwrap();
    format!(
        "{}\n{:#?}\n{:#?}\n{:#?}\n{}\n{}\n{splits:?}\n{}",
        manifest.fingerprint(),
        manifest.bad_images(),
        manifest.mask_faults(),
        manifest.notes(),
        manifest.patients_in_words(),
        serde_json::to_string_pretty(&eda).unwrap(),
        fs::read_to_string(csv).unwrap(),
    )
}

fn assert_same(one: &Manifest, other: &Manifest) {
    assert_eq!(one.rows(), other.rows());
    assert_eq!(all(one), all(other));
}

fn cold(config: &IndexConfig) -> Manifest {
    let manifest = index(&IndexConfig {
        cache: None,
        ..config.clone()
    });
    let manifest = manifest.unwrap();
    assert_eq!(manifest.reused(), &dataset::Reused::default());
    manifest
}

/// Indexes with the cache, compares with an index without it, and returns how many images were not opened.
fn reused(config: &IndexConfig) -> usize {
    let manifest = index(config).unwrap();
    assert_eq!(manifest.reused().notice, None);
    assert_same(&manifest, &cold(config));
    manifest.reused().images
}

/// Processes that learn a part each leave a cache by which each indexes all without opening an image.
#[test]
fn an_index_can_be_shared_out() {
    let home = Home::new();
    let config = home.config();
    let alone = index(&IndexConfig {
        cache: None,
        ..home.config()
    });
    let part = |part| index_part(&config, (part, 3), &|_, _| {}).unwrap();
    assert_eq!((0..3).map(part).sum::<usize>(), 0);
    let shared = index(&config).unwrap();
    assert_eq!(all(&shared), all(&alone.unwrap()));
    let images = files(&home.images()).len();
    assert_eq!(shared.reused().images, images);
    assert_eq!((0..3).map(part).sum::<usize>(), images);
}

#[test]
fn a_second_index_opens_nothing_and_yields_the_same() {
    let home = Home::new();
    let expected = cold(&home.config());
    assert_eq!(
        (expected.rows().len(), expected.bad_images().len()),
        (16, 1)
    );
    assert_eq!(expected.mask_faults().len(), 3);
    let first = index(&home.config()).unwrap();
    assert_same(&first, &expected);
    assert_eq!(first.reused().images, 0);
    for file in files(&home.images()).iter().chain(&files(&home.masks())) {
        change_unnoticed(file);
    }
    for _ in 0..2 {
        let second = index(&home.config()).unwrap();
        assert_same(&second, &expected);
        assert_eq!(
            (second.reused().images, &second.reused().notice),
            (17, &None)
        );
    }
    // Nothing is written into the data folder, and no file of the cache twice.
    assert_eq!(files(&home.images()).len(), 17);
    assert_eq!(files(&home.cache()).len(), 1);
}

#[test]
fn only_what_has_changed_is_read_again() {
    let home = Home::new();
    let config = home.config();
    assert_eq!((reused(&config), reused(&config)), (0, 17));
    let all = files(&home.images());
    // Another content of another size, another time with the same size, gone, new.
    save(&picture(77), &all[3]);
    let changed = fs::read(&all[4]).unwrap();
    fs::write(&all[4], vec![7; changed.len()]).unwrap();
    fs::remove_file(&all[6]).unwrap();
    save(&picture(99), &home.images().join("train/NORMAL/new.png"));
    set_time(&all[3], SystemTime::now() - Duration::from_secs(60));
    set_time(&all[4], SystemTime::now() - Duration::from_secs(60));
    assert_eq!(reused(&config), 14);
    // The new file was a moment old.
    assert_eq!(reused(&config), 16);
    home.age();
    // All times are the former ones again, which three entries do not have.
    assert_eq!(reused(&config), 14);
    assert_eq!(reused(&config), 17);
}

#[test]
fn masks_are_read_again_on_their_own() {
    let home = Home::new();
    let config = home.config();
    assert_eq!((reused(&config), reused(&config)), (0, 17));
    for image in files(&home.images()) {
        change_unnoticed(&image);
    }
    let masks = files(&home.masks());
    let before = index(&config).unwrap();
    fs::remove_file(&masks[0]).unwrap();
    fs::write(&masks[1], b"no mask either").unwrap();
    save(&mask(|x, y| if x < y { 255 } else { 0 }), &masks[2]);
    let after = index(&config).unwrap();
    assert_eq!(after.reused().images, 17);
    assert_eq!(after.mask_faults().len(), before.mask_faults().len() + 2);
    let shares = |manifest: &Manifest| {
        let rows = manifest.rows().iter();
        rows.map(|r| r.mask_shares.clone()).collect::<Vec<_>>()
    };
    let pairs = shares(&before).into_iter().zip(shares(&after));
    assert_eq!(pairs.filter(|(a, b)| a != b).count(), 3);
    // Other settings for masks, none, and the first ones again.
    let mut other = config.clone();
    other.masks.as_mut().unwrap().coding.threshold = Some(255);
    assert_eq!(index(&other).unwrap().reused().images, 17);
    other.masks = None;
    let without = index(&other).unwrap();
    assert!(without.reused().images == 17 && !without.has_masks());
    assert_same(&index(&config).unwrap(), &after);
}

#[test]
fn other_settings_have_entries_of_their_own() {
    let home = Home::new();
    let config = home.config();
    assert_eq!((reused(&config), reused(&config)), (0, 17));
    let mut stretched = config.clone();
    stretched.decoder.tones.window = Window::Percentile;
    assert_eq!((reused(&stretched), reused(&stretched)), (0, 17));
    let small = IndexConfig {
        decoder: Decoder {
            max_pixels: 100,
            ..Decoder::default()
        },
        incomplete: true,
        ..config.clone()
    };
    assert!(index(&small).is_err());
    assert_eq!(reused(&config), 17);
    // The same images elsewhere are others.
    let elsewhere = home.0.path().join("elsewhere");
    fs::rename(home.images(), &elsewhere).unwrap();
    let moved = IndexConfig {
        root: elsewhere,
        ..config
    };
    assert_eq!((reused(&moved), reused(&moved)), (0, 17));
}

#[test]
fn a_file_that_was_changed_a_moment_ago_is_not_trusted() {
    let home = Home::new();
    let file = files(&home.images())[0].clone();
    let now = SystemTime::now();
    set_time(&file, now);
    assert_eq!((reused(&home.config()), reused(&home.config())), (0, 16));
    // Changed again within the clock's step.
    change_unnoticed(&file);
    let manifest = index(&home.config()).unwrap();
    assert_eq!(manifest.bad_images().len(), 2);
    // The same for a mask.
    home.age();
    let mask = files(&home.masks())[0].clone();
    set_time(&mask, SystemTime::now());
    // Of the bad image the mask was missing.
    assert_eq!(index(&home.config()).unwrap().mask_faults().len(), 2);
    change_unnoticed(&mask);
    assert_eq!(index(&home.config()).unwrap().mask_faults().len(), 3);
}

/// Wherever a file of the cache is damaged or cut off, the manifest is the same, and the cache is repaired.
#[test]
fn a_damaged_cache_is_rebuilt() {
    let home = Home::new();
    let config = home.config();
    let expected = cold(&config);
    index(&config).unwrap();
    let [file] = &files(&home.cache())[..] else {
        panic!("one file")
    };
    let whole = fs::read(file).unwrap();
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x11;
        bytes
    };
    let places = (0..whole.len())
        .step_by(whole.len() / 97)
        .chain(whole.len() - 40..whole.len());
    let cut = [0, 1, 20, 90, 4000, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec());
    let longer = [whole.as_slice(), b"more"].concat();
    let foreign = b"\x89PNG\r\n\x1a\n and so on".repeat(90);
    let all = places.map(damaged).chain(cut).chain([longer, foreign]);
    let mut noticed = 0;
    for bytes in all {
        files(&home.cache())
            .iter()
            .for_each(|file| fs::remove_file(file).unwrap());
        fs::write(file, bytes).unwrap();
        let manifest = index(&config).unwrap();
        noticed += usize::from(manifest.reused().notice.is_some());
        assert_same(&manifest, &expected);
        let again = index(&config).unwrap();
        assert_same(&again, &expected);
        assert_eq!((again.reused().images, &again.reused().notice), (17, &None));
    }
    // The values of small copies are checked when they are needed, which nothing here notices.
    assert!(noticed >= 50, "{noticed}");
    fs::remove_dir_all(home.cache()).unwrap();
    assert_eq!(reused(&config), 0);
}

#[test]
fn a_cache_that_cannot_be_written_or_vanishes_is_no_error() {
    let home = Home::new();
    fs::write(home.cache(), b"a file").unwrap();
    let manifest = index(&home.config()).unwrap();
    let notice = manifest.reused().notice.clone().unwrap();
    assert!(
        notice.contains("cannot be written") && notice.contains("cache"),
        "{notice}"
    );
    assert_same(&manifest, &cold(&home.config()));
    fs::remove_file(home.cache()).unwrap();
    index(&home.config()).unwrap();
    let manifest = index(&home.config()).unwrap();
    // From now on the small copies come from the images.
    fs::remove_dir_all(home.cache()).unwrap();
    assert_same(&manifest, &cold(&home.config()));
}

#[test]
fn several_processes_can_index_at_once() {
    let home = Home::new();
    let expected = cold(&home.config());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let manifest = index(&home.config()).unwrap();
                    assert_eq!(manifest.reused().notice, None);
                    assert_same(&manifest, &expected);
                }
            });
        }
    });
    assert_eq!(reused(&home.config()), 17);
}

/// Many small changes do not make many files or a large cache.
#[test]
fn the_cache_is_tidied_up() {
    let home = Home::new();
    let image = files(&home.images())[0].clone();
    let mut most = 0;
    for i in 0..70 {
        set_time(&image, SystemTime::UNIX_EPOCH + Duration::from_secs(i));
        let manifest = index(&home.config()).unwrap();
        assert_eq!(manifest.reused().images, if i == 0 { 0 } else { 16 });
        most = most.max(files(&home.cache()).len());
    }
    assert!((10..=20).contains(&most), "{most}");
    assert_eq!(reused(&home.config()), 17);
}

fn dicom_folder(root: &Path, patients: &[&str]) -> IndexConfig {
    for (i, patient) in patients.iter().enumerate() {
        let study = format!("1.2.840.{i}");
        let planted = Planted {
            patient: Some(patient),
            study: Some(&study),
            age: "034Y",
            burned_in: i == 1,
            grey: 100 * i as u16,
        };
        write(&root.join("images"), &format!("{patient}-{i}.dcm"), planted);
    }
    for file in files(&root.join("images")) {
        set_time(
            &file,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        );
    }
    IndexConfig {
        root: root.join("images"),
        layout: DataLayout::Images,
        splits: SplitFolders::none(),
        cache: Some(root.join("cache")),
        ..IndexConfig::default()
    }
}

#[test]
fn identifiers_of_dicom_files_are_kept_as_hashes_only() {
    let home = tempfile::tempdir().unwrap();
    let patients = ["HN-884-1", "HN-884-1", "HN-884-2", "HN-884-3"];
    let config = dicom_folder(home.path(), &patients);
    assert_eq!((reused(&config), reused(&config)), (0, 4));
    let manifest = index(&config).unwrap();
    assert_eq!((manifest.revealing_paths(), manifest.burned_in()), (4, 1));
    let kept: Vec<u8> = files(&home.path().join("cache"))
        .iter()
        .flat_map(|f| fs::read(f).unwrap())
        .collect();
    let count = |text: &str| {
        kept.windows(text.len())
            .filter(|w| *w == text.as_bytes())
            .count()
    };
    // In the image's path, which the table of the file repeats, and nowhere else.
    assert_eq!(count("HN-884-3"), 2);
    assert_eq!(count("1.2.840."), 0);
    assert_eq!(count("Doe^Jane"), 0);
}

/// The first DICOM file salts all hashes.
#[test]
fn another_first_dicom_file_changes_all_hashes() {
    let home = tempfile::tempdir().unwrap();
    let config = dicom_folder(home.path(), &["HN-1", "HN-1", "HN-2", "HN-3"]);
    assert_eq!((reused(&config), reused(&config)), (0, 4));
    let before = index(&config).unwrap();
    let first = Planted {
        patient: Some("HN-0"),
        grey: 7,
        age: "050Y",
        ..Planted::default()
    };
    write(&home.path().join("images"), "A.dcm", first);
    let file = home.path().join("images/A.dcm");
    set_time(&file, SystemTime::now() - Duration::from_secs(60));
    assert_eq!(reused(&config), 0);
    let after = index(&config).unwrap();
    assert!(after.rows()[1].patient != before.rows()[0].patient);
    assert_eq!(reused(&config), 5);
    // Without it the former entries are no longer there.
    fs::remove_file(&file).unwrap();
    assert_eq!((reused(&config), reused(&config)), (0, 4));
    // A salt that was changed a moment ago is not relied on.
    set_time(&home.path().join("images/HN-1-0.dcm"), SystemTime::now());
    assert_eq!((reused(&config), reused(&config)), (0, 0));
}

/// Images whose pixels follow a formula, with masks.
fn fixed(root: &Path) -> IndexConfig {
    use image::{DynamicImage, ImageBuffer, Luma, Rgb};
    let at = |x: u32, y: u32| (x * x + 3 * x * y + 7 * y) % 251;
    let grey = ImageBuffer::from_fn(90, 70, |x, y| Luma([at(x, y) as u8]));
    let deep: ImageBuffer<_, Vec<u16>> =
        ImageBuffer::from_fn(50, 80, |x, y| Luma([(199 * at(x, y)) as u16]));
    let colour = |x, y| Rgb([at(x, y) as u8, at(y, x) as u8, 9]);
    let colour = ImageBuffer::from_fn(33, 65, colour);
    let marked = ImageBuffer::from_fn(90, 70, |x, y| Luma([255 * u8::from(x < y)]));
    let images = root.join("images");
    save(&DynamicImage::ImageLuma8(grey), &images.join("grey.png"));
    save(&DynamicImage::ImageLuma16(deep), &images.join("deep.png"));
    save(&DynamicImage::ImageRgb8(colour), &images.join("colour.png"));
    save(
        &DynamicImage::ImageLuma8(marked),
        &root.join("masks/grey.png"),
    );
    dicom_folder(root, &["HN-1"])
}

/// If this fails although images and masks are read as before (a new encoder writes other bytes), replace the digests;
/// otherwise raise `INSPECTION` as well: caches hold what the former version learned.
#[test]
fn what_is_learned_of_a_file_is_what_version_2_learned() {
    let home = tempfile::tempdir().unwrap();
    let config = fixed(home.path());
    index(&config).unwrap();
    let kept = fs::read(&files(&home.path().join("cache"))[0]).unwrap();
    // Without the mark and the digest of what depends on the folder's path.
    let of_images = ::files::sha256::hex(&kept[16 + 64..]);
    let masks = Some(MaskConfig::tree(home.path().join("masks")));
    let manifest = index(&IndexConfig { masks, ..config }).unwrap();
    let masks = manifest.rows().iter();
    let masks: Vec<_> = masks.map(|r| (&r.mask_shares, &r.mask_sha256)).collect();
    let of_masks = ::files::sha256::hex(format!("{masks:?}").as_bytes());
    assert_eq!(
        [of_images.as_str(), &of_masks],
        [
            "a06e689b31e5ed3b7d41ead0eb35a1c1a31837c5fcf76c686484edbc927ceabd",
            "22e05351eac0aa3457a0408fd6e77fe4a3549dbaf1638fa8ecfac14e0d9c98df"
        ]
    );
}
