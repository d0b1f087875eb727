#!/usr/bin/env python3
"""How a benchmark's figure depends on which recordings the threshold was chosen by.

    spread.py RECORDINGS SCORES THRESHOLD

Each group of recordings, told by the first two words of their names, is left out once: the threshold is chosen by the others, and
the group scored with it. If what comes together that way is close to the figure at THRESHOLD, it was not chosen for these.
"""

import os
import re
import sys

recordings, scores, shipped = sys.argv[1], sys.argv[2], float(sys.argv[3])
sys.path.insert(0, recordings)

import nab_score as nab  # noqa: E402, it is in the recordings' folder

STANDARD = nab.PROFILES["standard"]


def group(key):
    folder, name = os.path.split(key)
    return folder + "/" + "_".join(re.split(r"[_.]", name)[:2])


def main():
    keys, truths, rows = nab.load(scores, os.path.join(recordings, "labels/combined_windows.json"))
    print(f"{'group left out':42s} {'windows':>7s}  {'threshold of the others':>23s}  {'its score':>9s}  {'at ' + str(shipped):>9s}")
    total, thresholds = 0.0, []
    for name in sorted({group(key) for key in keys}):
        inside = [index for index, key in enumerate(keys) if group(key) == name]
        outside = [index for index in range(len(keys)) if index not in inside]
        threshold, _ = nab.best_threshold([truths[i] for i in outside], [rows[i] for i in outside], "standard")
        windows = sum(truths[i].n_windows for i in inside)
        raw = sum(nab.score_at(truths[i], rows[i], threshold, *STANDARD)[0] for i in inside)
        raw_shipped = sum(nab.score_at(truths[i], rows[i], shipped, *STANDARD)[0] for i in inside)
        total += raw
        thresholds.append(threshold)
        print(f"{name:42s} {windows:7d}  {threshold:23.4f}  {figure(raw, windows)}  {figure(raw_shipped, windows)}")
    windows = sum(truth.n_windows for truth in truths)
    print(f"all, each by the threshold of the others: {nab.normalise(total, windows, 'standard'):.1f}, "
          f"thresholds {min(thresholds):.3f} to {max(thresholds):.3f}")


def figure(raw, windows):
    """A score, or what its false alarms cost when there is nothing to be found."""
    return f"{nab.normalise(raw, windows, 'standard'):9.1f}" if windows else f"{raw:+9.2f}"


if __name__ == "__main__":
    main()
