use super::*;
use alloc::vec;

/// The same numbers everywhere, below `2^bits`.
fn random(seed: u64, bits: u32) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ state >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) >> (64 - bits)
    }
}

fn sketch(values: &[i64]) -> Sketch {
    let mut sketch = Sketch::new();
    values.iter().for_each(|value| sketch.add(*value));
    sketch
}

fn exactly(values: &[i64], per_mille: usize) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * per_mille).div_ceil(1000).max(1) - 1]
}

/// Whether quantiles are off by no more than the sketch says. Returns what it says.
fn check(values: &[i64]) -> u32 {
    let sketch = sketch(values);
    assert_eq!(sketch.value_count(), values.len() as u64);
    let error = sketch.error_per_mille();
    for per_mille in [0, 1, 250, 500, 950, 990, 999, 1000] {
        let (found, exact) = (sketch.quantile(per_mille as u32).unwrap(), exactly(values, per_mille));
        let most = exact.unsigned_abs() as f64 * f64::from(error) / 1000.0 * (1.0 + 1e-9);
        assert!((found - exact as f64).abs() <= most, "{per_mille}: {found} for {exact}");
    }
    error
}

fn drawn(count: usize, bits: u32, map: impl Fn(u64) -> i64) -> Vec<i64> {
    let mut next = random(count as u64, bits);
    (0..count).map(|_| map(next())).collect()
}

#[test]
fn quantiles_of_values_within_the_ratio_are_off_by_a_hundredth_at_the_most() {
    let spans = [1, 37, 1000, 1_000_003, 1 << 40, i64::MAX / EXACT_RATIO as i64];
    for least in spans {
        let ratio = EXACT_RATIO as i64;
        let even = drawn(5000, 40, |random| least + ((random as i128 * i128::from(least * (ratio - 1))) >> 40) as i64);
        // Every place has a value: as many buckets as there can be.
        let all: Vec<_> = (0..=20_000).map(|part| least + (i128::from(least) * 99 * part / 20_000) as i64).collect();
        let mut tail = even.iter().map(|value| least + (value - least) / 90).collect::<Vec<_>>();
        tail.extend(even.iter().filter(|value| *value % 50 == 0));
        for values in [even, all, tail] {
            assert_eq!(check(&values), 10);
            assert_eq!(check(&values.iter().map(|value| -value).collect::<Vec<_>>()), 10);
        }
    }
}

#[test]
fn a_few_values_may_be_anywhere() {
    for values in [&[0][..], &[-1], &[i64::MIN, -1, 0, 1, i64::MAX], &[5; 300], &[1, 2, 3, 4, 5, 6, 7, 8]] {
        assert_eq!(check(values), 10);
    }
    // What has an integer to itself is exact.
    assert_eq!([500, 950].map(|of| sketch(&[1, 2, 3, 4, 5, 6, 7, 8]).quantile(of)), [Some(4.0), Some(8.0)]);
    assert_eq!((Sketch::new().quantile(500), Sketch::new().value_count()), (None, 0));
}

#[test]
fn beyond_the_ratio_it_is_coarser_and_says_so() {
    let heavy = drawn(20_000, 32, |random| ((1u128 << 62) / (1 + (u128::from(random).pow(2) >> 10))) as i64);
    let both = drawn(20_000, 63, |random| (random as i64 >> (random % 60)) * (1 - 2 * (random as i64 & 1)));
    let wide = drawn(20_000, 20, |random| random as i64);
    assert_eq!([&heavy, &both, &wide].map(|values| check(values)), [39, 283, 20]);
}

#[test]
fn a_merge_is_the_sketch_of_all_values_in_whatever_order() {
    for round in 0..60u64 {
        let bits = 4 + (round % 58) as u32;
        let values = drawn(600 + round as usize * 7, bits, |random| random as i64 - (1 << (bits - 1)) / 3);
        let whole = sketch(&values);
        assert!(whole.buckets().len() <= BUCKET_COUNT_MAX);
        let mut parts: Vec<Sketch> = values.chunks(1 + round as usize * 3).map(sketch).collect();
        let mut next = random(round, 16);
        while parts.len() > 1 {
            let one = parts.swap_remove(next() as usize % parts.len());
            let at = next() as usize % parts.len();
            parts[at].merge(&one);
        }
        assert_eq!((parts.len(), &parts[0]), (1, &whole), "{round}");
        let mut reversed = Sketch::new();
        values.iter().rev().for_each(|value| reversed.add(*value));
        assert_eq!(reversed, whole);
    }
}

#[test]
fn a_place_is_no_wider_than_it_may_be_and_they_are_in_order() {
    for at in 0..40 * OCTAVE {
        let (least, end) = (least_at(at), least_at(at + 1));
        assert!(least <= end && (end.saturating_sub(1 + least)) * 100 <= end - 1 + least, "{at}: {least} to {end}");
    }
    assert_eq!([1, 2, 4, u64::MAX].map(place), [0, OCTAVE, 2 * OCTAVE, PLACE_COUNT - 1]);
}

#[test]
fn what_is_no_sketch_is_refused() {
    let bucket = |key, count| Bucket { key, count };
    let good = sketch(&[-7, 0, 5, 5, 9_000]);
    assert_eq!(Sketch::of(0, good.buckets().to_vec()), Some(good));
    assert_eq!(Sketch::of(0, vec![bucket(3, 1), bucket(3, 1)]), None);
    assert_eq!(Sketch::of(0, vec![bucket(3, 0)]), None);
    assert_eq!(Sketch::of(0, vec![bucket(PLACE_COUNT as i16 + 1, 1)]), None);
    assert_eq!(Sketch::of(COLLAPSE_COUNT_MAX + 1, vec![]), None);
    assert_eq!(Sketch::of(0, (0..=BUCKET_COUNT_MAX as i16).map(|key| bucket(key, 1)).collect()), None);
    for key in [PLACE_COUNT as i16, -(PLACE_COUNT as i16)] {
        assert!(Sketch::of(0, vec![bucket(key, u32::MAX)]).unwrap().quantile(500).is_some());
    }
}

#[test]
fn it_takes_no_more_memory_than_is_stated() {
    let all = drawn(100_000, 63, |random| random as i64 >> (random % 63));
    let mut merged = Sketch::new();
    all.chunks(3000).for_each(|values| merged.merge(&sketch(values)));
    assert_eq!(merged, sketch(&all));
    assert!(merged.bytes().max(sketch(&all).bytes()) <= 32 + 8 * (BUCKET_COUNT_MAX + 1));
}

#[test]
fn the_buckets_are_the_same_on_every_machine() {
    let sketch = sketch(&drawn(3000, 30, |random| random as i64 - 77));
    let said = |hash: u64, bucket: &Bucket| {
        [bucket.key as u64, bucket.count.into()]
            .iter()
            .fold(hash, |hash, part| (hash ^ part).wrapping_mul(0x100_0000_01b3))
    };
    assert_eq!(sketch.buckets().iter().fold(0xcbf2_9ce4_8422_2325, said), 16_897_617_227_824_559_566);
}
