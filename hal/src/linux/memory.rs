//! Memory that is free in here and still counted as ours.

/// Gives back to the system what was freed. To be called after work that needed far more than usual, once it is dropped:
/// glibc keeps such memory for the next time, which may be in a year. Other libcs give it back by themselves.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix has no malloc_trim")]
    // SAFETY: the call takes no pointer and may be made on any thread at any time (malloc_trim(3)).
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays() {
        let kept = vec![7_u8; 1 << 20];
        drop(vec![vec![8_u8; 100]; 10_000]);
        give_back();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
