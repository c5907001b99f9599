use std::path::Path;

use collective::{Alone, threads};
use rayon::ThreadPoolBuilder;

use super::images::Images;
use super::outline::{Coarse, Fine, centred};
use super::pairs::Pairs;
use super::sign_hash::{RADIUS, SignHash};
use super::{Turn, every_pair, hashed, of};
use crate::index::synthetic::{GRID, at};
use crate::made_up::{Row, manifest_of};
use crate::small::{BLOCK, BLOCKS, SIDE, Small, VALUES};
use crate::{IndexConfig, Manifest, SplitFolders, index};
use random::Rng;

/// A smooth image of random grey values around `common`, that are below or above it by up to `spread`.
fn smooth(rng: &mut Rng, common: impl Fn(usize) -> f32, spread: f32) -> Vec<f32> {
    let mut grid: Vec<f32> = (0..GRID * GRID).map(common).collect();
    let mut random = || 2.0 * spread * (rng.unit_f32() - 0.5);
    grid.iter_mut().for_each(|value| *value += random());
    (0..VALUES).map(|pixel| at(&grid, pixel)).collect()
}

/// An image with a pattern that it has in common with others, as radiographs have.
fn radiograph(rng: &mut Rng) -> Vec<f32> {
    smooth(rng, |i| 0.5 + 0.2 * (i as f32 * 0.9).sin(), 0.15)
}

/// The image plus as much of `change` as brings their correlation to `correlation`.
fn changed(image: &[f32], change: &[f32], correlation: f32) -> Vec<f32> {
    let centred = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / VALUES as f32;
        values.iter().map(|v| v - mean).collect::<Vec<f32>>()
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let (own, mut change) = (centred(image), centred(change));
    let common = dot(&own, &change) / dot(&own, &own);
    change
        .iter_mut()
        .zip(&own)
        .for_each(|(c, o)| *c -= common * o);
    let tangent = (1.0 - correlation * correlation).sqrt() / correlation;
    let factor = tangent * (dot(&own, &own) / dot(&change, &change)).sqrt();
    let pairs = image.iter().zip(&change);
    pairs
        .map(|(v, c)| (v + factor * c).clamp(0.0, 1.0))
        .collect()
}

/// A manifest of images with these grey values, every one in a file of its own.
fn manifest(images: &[Vec<f32>]) -> Manifest {
    let row = |i: usize| -> Row { (None, i % 2, i as u32 / 3, i as u32) };
    let rows: Vec<Row> = (0..images.len()).map(row).collect();
    manifest_of(2, &rows, |i, facts| {
        facts.small = Small::of(&images[i], SIDE)
    })
}

/// Radiographs, of which each tenth is a changed copy of the one before, every other mirrored.
fn with_copies(n: usize) -> Manifest {
    let mut rng = Rng::stream(8, 8);
    let mut images: Vec<Vec<f32>> = vec![];
    for i in 0..n {
        let new = radiograph(&mut rng);
        images.push(match i % 10 {
            9 => changed(&images[i - 1], &new, 0.998),
            _ => new,
        });
        if i % 20 == 19 {
            images[i].chunks_exact_mut(SIDE).for_each(<[_]>::reverse);
        }
    }
    manifest(&images)
}

fn with_threads(threads: usize, search: impl Fn() -> Pairs + Sync) -> Pairs {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(&search)
}

#[test]
fn hashes_find_the_pairs_of_every_comparison_with_any_number_of_threads() {
    for n in [20, 300, 3000] {
        let manifest = with_copies(n);
        let images = Images::new(&manifest);
        let every = every_pair::search(&images, Turn::ALL).unwrap();
        assert_eq!((every.all, every.truncated), (n / 10, false));
        assert_eq!(
            every.closest.iter().filter(|p| p.mirrored).count(),
            every.closest.len() / 2
        );
        for threads in [1, 2, 3] {
            let found = with_threads(threads, || hashed::search(&images, Turn::ALL).unwrap());
            assert_eq!(found, every, "{n} images, {threads} threads");
            assert_eq!(
                with_threads(threads, || every_pair::search(&images, Turn::ALL).unwrap()),
                every
            );
        }
    }
}

/// A kind of change, and the least shares of changed copies that are to be found, by [`CORRELATIONS`].
type Change = (&'static str, fn(&mut Rng) -> Vec<f32>, [f64; 3]);

const CORRELATIONS: [f32; 3] = [0.985, 0.99, 0.997];

/// Bits of the parts of a million images.
const BITS: usize = 20;

/// The shares of images whose hashes have a part in common with those of changed copies.
fn check_shares(what: &str, images: &[Vec<f32>], changes: &[Change]) {
    let mut rng = Rng::stream(9, 9);
    let small = |image: &Vec<f32>| Small::of(image, SIDE).into_parts().0;
    let vectors: Vec<_> = images.iter().map(|image| centred(&small(image))).collect();
    let hash = SignHash::new(&vectors, BITS);
    for (name, change, least) in changes {
        for (correlation, least) in CORRELATIONS.into_iter().zip(least) {
            let found = images.iter().filter(|image| {
                let copy = changed(image, &change(&mut rng), correlation);
                let [a, b] = [image, &copy].map(|image| hash.of(&centred(&small(image))));
                a.iter().zip(b).any(|(a, b)| (a ^ b).count_ones() <= RADIUS)
            });
            let share = found.count() as f64 / images.len() as f64;
            println!("{what}, {name}, {correlation}: {share:.4}");
            assert!(share >= *least, "{what}, {name}, {correlation}: {share}");
        }
    }
}

fn illumination(rng: &mut Rng) -> Vec<f32> {
    smooth(rng, |_| 0.5, 0.5)
}

fn noise(rng: &mut Rng) -> Vec<f32> {
    (0..VALUES).map(|_| rng.unit_f32()).collect()
}

/// Another value in each of the blocks of a signature.
fn blocks(rng: &mut Rng) -> Vec<f32> {
    let values: Vec<f32> = (0..BLOCKS).map(|_| rng.unit_f32()).collect();
    let block = |pixel: usize| pixel / SIDE / BLOCK * (SIDE / BLOCK) + pixel % SIDE / BLOCK;
    (0..VALUES).map(|pixel| values[block(pixel)]).collect()
}

#[test]
fn hashes_of_changed_copies_share_a_part() {
    let mut rng = Rng::stream(8, 9);
    let radiographs: Vec<Vec<f32>> = (0..2000).map(|_| radiograph(&mut rng)).collect();
    let changes: [Change; 3] = [
        ("illumination", illumination, [0.99, 0.995, 0.999]),
        ("mark", mark, [0.99, 0.995, 0.999]),
        ("noise", noise, [0.999, 0.999, 0.999]),
    ];
    check_shares("made-up images", &radiographs, &changes);
}

/// The images of a folder of the shared data.
fn shared(folder: &str) -> Manifest {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = root.join(folder);
    assert!(root.exists(), "{} is missing", root.display());
    let splits = match folder {
        "brain_tumor" => SplitFolders::new(Some("Training"), None, Some("Testing")),
        _ => SplitFolders::default(),
    };
    let config = IndexConfig {
        root,
        splits,
        ..IndexConfig::default()
    };
    index(&config).unwrap()
}

#[test]
#[ignore = "reads images of ../shared"]
fn shared_hashes_of_changed_images_share_a_part() {
    let changes: [Change; 4] = [
        ("illumination", illumination, [0.93, 0.98, 0.995]),
        ("mark", mark, [0.94, 0.98, 0.995]),
        ("noise", noise, [0.999, 0.999, 0.999]),
        ("blocks", blocks, [0.72, 0.88, 0.995]),
    ];
    for folder in ["chest_xray", "brain_tumor"] {
        let manifest = shared(folder);
        let some = manifest.rows().iter().step_by(2);
        let images: Vec<Vec<f32>> = some
            .map(|record| {
                let values = manifest.small_values(record).unwrap();
                values.iter().map(|v| f32::from(*v) / 255.0).collect()
            })
            .collect();
        check_shares(folder, &images, &changes);
    }
}

/// On these images the hashes find all pairs that comparing every pair finds.
#[test]
#[ignore = "reads images of ../shared"]
fn shared_hashes_find_the_near_copies_of_every_comparison() {
    for (folder, pairs) in [("chest_xray", 0), ("brain_tumor", 182)] {
        let manifest = shared(folder);
        let images = Images::new(&manifest);
        let every = every_pair::search(&images, Turn::ALL).unwrap();
        let found = hashed::search(&images, Turn::ALL).unwrap();
        assert_eq!((every.all, found.all), (pairs, pairs), "{folder}");
        for threads in [1, 3] {
            assert_eq!(
                with_threads(threads, || hashed::search(&images, Turn::ALL).unwrap()),
                found
            );
        }
    }
}

/// A square somewhere.
fn mark(rng: &mut Rng) -> Vec<f32> {
    let [top, left] = [(); 2].map(|()| rng.below(SIDE - 16));
    let inside = |at: usize, from: usize| (from..from + 16).contains(&at);
    let at = |i: usize| f32::from(u8::from(inside(i / SIDE, top) && inside(i % SIDE, left)));
    (0..VALUES).map(at).collect()
}

/// Outlines of images that are near-identical are near, and those of most others are not.
#[test]
fn outlines_of_near_identical_images_are_near() {
    let mut rng = Rng::stream(10, 10);
    let mut different = [0, 0];
    for i in 0..1000 {
        let image = radiograph(&mut rng);
        let change = match i % 2 {
            0 => smooth(&mut rng, |_| 0.5, 0.5),
            _ => mark(&mut rng),
        };
        let mut mirror = image.clone();
        mirror.chunks_exact_mut(SIDE).for_each(<[_]>::reverse);
        // A little more than the least, because values are rounded to bytes, and limited.
        let changed = changed(&image, &change, 0.9852);
        let other = radiograph(&mut rng);
        let outlines = [image, changed, mirror, other].map(|image| {
            let small = Small::of(&image, SIDE);
            (Coarse::of(small.signature()), Fine::of(small.signature()))
        });
        let [(coarse, fine), changed, mirror, other] = outlines;
        assert!(coarse.is_near(&changed.0) && fine.is_near(&changed.1));
        assert_eq!((coarse.mirrored(), fine.mirrored()), mirror);
        different[0] += usize::from(!coarse.is_near(&other.0));
        different[1] += usize::from(!fine.is_near(&other.1));
    }
    println!("different: {different:?}");
    assert!(different[0] > 950 && different[1] > 998, "{different:?}");
}

/// The time is bounded where all images are alike, and what was not compared is stated.
#[test]
fn data_sets_of_like_images_are_cut_short() {
    let mut rng = Rng::stream(11, 11);
    let image = radiograph(&mut rng);
    let nearly = |_| changed(&image, &smooth(&mut rng, |_| 0.5, 0.5), 0.9995);
    let alike: Vec<Vec<f32>> = (0..10_000).map(nearly).collect();
    let equal = vec![image.clone(); 10_000];
    let check = |images: &[Vec<f32>], search: fn(&Images<'_>) -> Pairs, least: usize| {
        let manifest = manifest(images);
        let found = search(&Images::new(&manifest));
        assert!(found.truncated && found.all > least, "{}", found.all);
        assert_eq!(found.closest.len(), 500);
    };
    check(
        &alike,
        |images| hashed::search(images, Turn::ALL).unwrap(),
        100_000,
    );
    check(
        &equal,
        |images| hashed::search(images, Turn::ALL).unwrap(),
        100_000,
    );
    check(
        &alike,
        |images| every_pair::search(images, Turn::ALL).unwrap(),
        3_000_000,
    );
}

#[test]
fn a_few_images_are_compared() {
    let image = radiograph(&mut Rng::stream(12, 12));
    let plain = vec![0.5; VALUES];
    for (images, pairs) in [
        (vec![], 0),
        (vec![image.clone()], 0),
        (vec![image.clone(), image.clone()], 1),
        (vec![image.clone(), plain.clone()], 0),
        (vec![plain.clone(), plain], 0),
    ] {
        let manifest = manifest(&images);
        let found = of(&manifest, &Alone).unwrap();
        assert_eq!((found.pairs, found.truncated), (pairs, false));
        let by_hash = hashed::search(&Images::new(&manifest), Turn::ALL).unwrap();
        assert_eq!((by_hash.all, by_hash.truncated), (pairs, false));
    }
}

/// Several processes share out the search, and all find what one finds.
#[test]
fn the_pairs_do_not_depend_on_the_number_of_processes() {
    let mut rng = Rng::stream(14, 14);
    let image = radiograph(&mut rng);
    let like = |i: usize, rng: &mut Rng| match i % 4 {
        0 => changed(&image, &smooth(rng, |_| 0.5, 0.5), 0.996),
        _ => radiograph(rng),
    };
    let images: Vec<Vec<f32>> = (0..300).map(|i| like(i, &mut rng)).collect();
    let manifest = manifest(&images);
    let alone = of(&manifest, &Alone).unwrap();
    assert!(alone.pairs > 500, "{}", alone.pairs);
    let all = Images::new(&manifest);
    let by_hash = hashed::search(&all, Turn::ALL).unwrap();
    assert!(by_hash.all > 500, "{}", by_hash.all);
    for size in [2, 3, 5] {
        for found in threads::run(size, |processes| of(&manifest, processes).unwrap()) {
            assert_eq!(found, alone, "{size}");
        }
        let turns = (0..size).map(|rank| hashed::search(&all, Turn { rank, size }).unwrap());
        let together = turns.reduce(Pairs::with).unwrap();
        assert_eq!(together.closest, by_hash.closest, "{size}");
    }
}
