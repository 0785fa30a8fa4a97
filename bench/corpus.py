"""Ten-second clips of real sound in every codec: corpus.py FOLDER. Finished files are kept.

Music, speech and effects come from Debian packages of free recordings, which are fetched and unpacked beside the clips,
not installed. Every source becomes 44.1 kHz stereo, and every codec is encoded from that:

    FOLDER/{wav,flac,mp3,ogg,opus,webm,m4a}/NNN.*    as corpora are published
    FOLDER/{wav32k,wav16k}/NNN.wav                   mono, what the log-mels work at
"""
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 10
# package: (clips, recordings joined for one clip)
SOURCES = {"warzone2100-music": (36, 1), "asterisk-core-sounds-en-wav": (14, 12), "freedroid-data": (10, 8)}
SOUND = {".ogg", ".oga", ".opus", ".wav", ".mp3"}
MASTER = ["-ac", "2", "-ar", "44100", "-c:a", "pcm_s16le"]
MONO = ["-ac", "1", "-c:a", "pcm_s16le"]
CODECS = {
    "flac/{}.flac": ["-c:a", "flac"],
    "mp3/{}.mp3": ["-c:a", "libmp3lame", "-b:a", "128k"],
    "ogg/{}.ogg": ["-c:a", "libvorbis", "-q:a", "4"],
    "opus/{}.opus": ["-c:a", "libopus", "-b:a", "96k"],
    "webm/{}.webm": ["-c:a", "libopus", "-b:a", "96k"],
    "m4a/{}.m4a": ["-c:a", "aac", "-b:a", "128k"],
    "wav32k/{}.wav": [*MONO, "-ar", "32000"],
    "wav16k/{}.wav": [*MONO, "-ar", "16000"],
}


def ffmpeg(*args, out):
    """`out` is there when it is whole."""
    partial = out.with_name("partial-" + out.name)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, args), partial], check=True)
    partial.rename(out)


def seconds(file):
    query = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(file)]
    answer = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return float(answer) if answer.replace(".", "", 1).isdigit() else 0.0


def recordings(package, folder):
    """The sound files of a Debian package, fetched once."""
    unpacked = folder / package
    if not unpacked.exists():
        print(f"fetching {package}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
        archive = next(folder.glob(f"{package}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", archive, folder / "partial"], check=True)
        (folder / "partial").rename(unpacked)
        archive.unlink()
    return sorted(f for f in unpacked.rglob("*") if f.suffix in SOUND and f.is_file())


def cut(files, n_joined, rng, out):
    """Ten seconds: a window of one recording, or several short ones in a row."""
    if n_joined == 1:
        file = rng.choice(files)
        start = rng.uniform(0, max(0.0, seconds(file) - SECONDS - 1))
        return ffmpeg("-ss", f"{start:.3f}", "-i", file, *MASTER, "-t", SECONDS, out=out)
    inputs = [arg for file in rng.sample(files, n_joined) for arg in ("-i", file)]
    same = "".join(f"[{i}:a]aresample=44100,aformat=channel_layouts=stereo[s{i}];" for i in range(n_joined))
    joined = "".join(f"[s{i}]" for i in range(n_joined))
    chain = f"{same}{joined}concat=n={n_joined}:v=0:a=1,apad=whole_dur={SECONDS}"
    return ffmpeg(*inputs, "-filter_complex", chain, *MASTER, "-t", SECONDS, out=out)


def encode(master, folder):
    for name, args in CODECS.items():
        file = folder / name.format(master.stem)
        if not file.exists():
            ffmpeg("-threads", 1, "-i", master, *args, out=file)


def main(folder):
    n_clips = sum(n for n, _ in SOURCES.values())
    masters = [folder / f"wav/{number:03}.wav" for number in range(n_clips)]
    for name in ["wav/{}.wav", *CODECS]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if not all(master.exists() for master in masters):
        print(f"making {n_clips} clips in {folder}", file=sys.stderr)
        rng, numbers = random.Random(7), iter(masters)
        for package, (n, n_joined) in SOURCES.items():
            found = recordings(package, folder / "sources")
            files = found if n_joined > 1 else [file for file in found if seconds(file) > 2 * SECONDS]
            for _ in range(n):
                cut(files, n_joined, rng, next(numbers))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda master: encode(master, folder), masters))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
