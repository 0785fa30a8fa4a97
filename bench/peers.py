"""What people use today for each step, each as a function of a clip's number. Written for speed, as their users would.

A peer that is not installed is left out and listed in `MISSING`.
"""
import importlib
import io
import subprocess
import warnings
from pathlib import Path

import numpy as np

MISSING = {}
# lhotse warns of the frames inside the clip that Kaldi's convention asks for.
warnings.filterwarnings("ignore", module="lhotse")


def _module(name):
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken wheel raises more than ImportError
        MISSING[name.split(".")[0]] = str(error).splitlines()[0][:120]
        return None


torch = _module("torch")
if torch:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
torchaudio, kaldi = _module("torchaudio"), _module("torchaudio.compliance.kaldi")
torchcodec = _module("torchcodec.decoders")
sf, av, soxr, librosa = _module("soundfile"), _module("av"), _module("soxr"), _module("librosa")
signal, knf, lhotse = _module("scipy.signal"), _module("kaldi_native_fbank"), _module("lhotse")
dali = _module("nvidia.dali")

# Containers that libsndfile and DALI do not read.
NOT_SNDFILE, DALI_READS = {"webm", "m4a"}, {"wav", "wav32k", "flac", "ogg"}
RATE = 32_000


class Corpus:
    """`n` clips spread over a folder of `corpus.py`: paths, bytes, samples."""

    def __init__(self, folder, n):
        names = sorted(file.stem for file in (Path(folder) / "m4a").glob("*.m4a"))
        n = min(n, len(names))
        self.names, self.folder = [names[i * len(names) // n] for i in range(n)], Path(folder)
        self._bytes, self._mono = {}, {}

    def files(self, codec):
        return [str(next((self.folder / codec).glob(f"{name}.*"))) for name in self.names]

    def bytes(self, codec):
        if codec not in self._bytes:
            self._bytes[codec] = [Path(file).read_bytes() for file in self.files(codec)]
        return self._bytes[codec]

    def mono(self, codec):
        if codec not in self._mono:
            self._mono[codec] = [_mono(sf.read(file, dtype="float32")[0]) for file in self.files(codec)]
        return self._mono[codec]


def _mono(samples):
    """(frames, channels) to (frames,)."""
    if samples.ndim == 1:
        return samples
    # Several times faster than `mean(axis=1)` on two channels.
    return samples[:, 0] if samples.shape[1] == 1 else (samples[:, 0] + samples[:, 1]) * np.float32(0.5)


def _without_none(peers):
    return {name: call for name, call in peers.items() if call}


def decoders(corpus, codec):
    """Bytes to float samples, channels as the file has them: less than ours does, which mixes down."""
    clips, files = corpus.bytes(codec), corpus.files(codec)
    return _without_none({
        "soundfile": sf and codec not in NOT_SNDFILE and (lambda i: sf.read(io.BytesIO(clips[i]), dtype="float32")),
        "PyAV": av and (lambda i: _pyav(clips[i])),
        "torchcodec": torchcodec and (lambda i: torchcodec.AudioDecoder(clips[i]).get_all_samples()),
        "DALI": dali and codec in DALI_READS and _dali_calls(_dali_decode, clips),
        "ffmpeg program": lambda i: _ffmpeg(files[i]),
    })


def _pyav(clip):
    with av.open(io.BytesIO(clip)) as container:
        stream = container.streams.audio[0]
        stream.thread_count = 1
        return [frame.to_ndarray() for frame in container.decode(stream)], stream.rate


def _ffmpeg(file):
    args = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", file, "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(args, stdout=subprocess.PIPE, check=True).stdout, np.float32)


def resamplers(corpus, codec, rate_in, rate_out):
    clips = corpus.mono(codec)
    up, down = rate_out // np.gcd(rate_in, rate_out), rate_in // np.gcd(rate_in, rate_out)
    peers = {f"soxr {q}": soxr and (lambda i, q=q: soxr.resample(clips[i], rate_in, rate_out, quality=q))
             for q in ("HQ", "VHQ")}
    peers["scipy resample_poly"] = signal and (lambda i: signal.resample_poly(clips[i], up, down))
    if torchaudio:
        tensors = [torch.from_numpy(clip) for clip in clips]
        # The second is torchaudio's own recipe for the quality of librosa's `kaiser_best`.
        best = dict(lowpass_filter_width=64, rolloff=0.9475937167399596, resampling_method="sinc_interp_kaiser",
                    beta=14.769656459379492)
        for name, options in {"torchaudio": {}, "torchaudio kaiser_best": best}.items():
            resample = torchaudio.transforms.Resample(rate_in, rate_out, **options)
            peers[name] = lambda i, resample=resample: resample(tensors[i])
    return _without_none(peers)


class Mel:
    """Numbers of a log-mel picture of ten seconds."""

    def __init__(self, rate, n_frames, n_mels, window_s=None, low_hz=20.0):
        self.rate, self.n_frames, self.n_mels, self.low_hz = rate, n_frames, n_mels, low_hz
        self.hop = 10 * rate // n_frames
        self.window = int(window_s * rate) if window_s else 25 * rate // n_frames
        self.n_fft = 1 << (self.window - 1).bit_length()

    def kaldi(self, tensor):
        return kaldi.fbank(
            tensor - tensor.mean(), sample_frequency=self.rate, frame_shift=10_000 / self.n_frames,
            frame_length=25_000 / self.n_frames, num_mel_bins=self.n_mels, low_freq=self.low_hz, window_type="hanning")

    def torchaudio(self, center):
        mel = torchaudio.transforms.MelSpectrogram(
            self.rate, n_fft=self.n_fft, win_length=self.window, hop_length=self.hop, f_min=self.low_hz,
            n_mels=self.n_mels, center=center)
        return lambda tensor: torch.log(mel(tensor).clamp_(min=1e-10))

    def librosa(self, samples, center):
        mel = librosa.feature.melspectrogram(
            y=samples, sr=self.rate, n_fft=self.n_fft, win_length=self.window, hop_length=self.hop, fmin=self.low_hz,
            n_mels=self.n_mels, center=center)
        return np.log(np.maximum(mel, 1e-10))

    def native_fbank(self, samples):
        options = knf.FbankOptions()
        frame, mel = options.frame_opts, options.mel_opts
        frame.samp_freq, frame.dither, frame.window_type = self.rate, 0, "hanning"
        frame.frame_shift_ms, frame.frame_length_ms = 10_000 / self.n_frames, 25_000 / self.n_frames
        mel.num_bins, mel.low_freq, mel.high_freq = self.n_mels, self.low_hz, self.rate / 2
        fbank = knf.OnlineFbank(options)
        fbank.accept_waveform(self.rate, samples)
        fbank.input_finished()
        return np.stack([fbank.get_frame(k) for k in range(fbank.num_frames_ready)])

    def lhotse(self):
        config = lhotse.FbankConfig(
            sampling_rate=self.rate, frame_shift=10 / self.n_frames, frame_length=25 / self.n_frames,
            num_filters=self.n_mels, low_freq=self.low_hz, high_freq=self.rate / 2, snip_edges=True, dither=0.0,
            window_type="hanning")
        fbank = lhotse.Fbank(config)
        return lambda samples: fbank.extract(samples, self.rate)


def log_mels(corpus, codec, mel, stft):
    """Samples to a log-mel picture of the same numbers; `stft` asks for the centred form, else for Kaldi's."""
    clips = corpus.mono(codec)
    tensors = [torch.from_numpy(clip)[None] for clip in clips] if torch else []
    melspectrogram = torchaudio and mel.torchaudio(center=stft)
    fbank = lhotse and not stft and mel.lhotse()
    return _without_none({
        "torchaudio kaldi.fbank": kaldi and not stft and (lambda i: mel.kaldi(tensors[i])),
        "torchaudio MelSpectrogram + log": melspectrogram and (lambda i: melspectrogram(tensors[i])),
        "librosa": librosa and (lambda i: mel.librosa(clips[i], stft)),
        "kaldi-native-fbank": knf and not stft and (lambda i: mel.native_fbank(clips[i])),
        "lhotse Fbank": fbank and (lambda i: fbank(clips[i])),
        "DALI": dali and _dali_calls(_dali_mel, clips, mel, stft),
    })


def pipelines(corpus, codec, rate, mel):
    """Bytes to a log-mel picture of ten seconds, the level set as the reference does."""
    clips = corpus.bytes(codec)
    spectrogram = torchaudio and mel.torchaudio(center=False)

    def at_rate(samples):
        return torch.from_numpy(samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ"))

    def level(wave):
        wave = wave - wave.mean()
        wave = wave / wave.abs().max() + 1e-6
        return torch.nn.functional.pad(wave, (0, max(0, 10 * RATE - len(wave))))[None, :10 * RATE]

    def by_soundfile(i):
        return at_rate(_mono(sf.read(io.BytesIO(clips[i]), dtype="float32")[0]))

    def by_pyav(i):
        frames, _ = _pyav(clips[i])
        samples = np.concatenate(frames, axis=1)
        if samples.dtype != np.float32:
            samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
        if samples.shape[0] == 1 and samples.shape[1] > 11 * rate:
            samples = samples.reshape(-1, 2).T  # packed stereo
        return at_rate(_mono(samples.T))

    def by_torchcodec(i):
        return at_rate(_mono(torchcodec.AudioDecoder(clips[i]).get_all_samples().data.numpy().T))

    def by_torchcodec_alone(i):
        return torchcodec.AudioDecoder(clips[i], sample_rate=RATE, num_channels=1).get_all_samples().data[0]

    loaders = _without_none({
        "soundfile + soxr HQ": sf and soxr and codec not in NOT_SNDFILE and by_soundfile,
        "PyAV + soxr HQ": av and soxr and by_pyav,
        "torchcodec + soxr HQ": torchcodec and soxr and by_torchcodec,
        "torchcodec": torchcodec and by_torchcodec_alone,
    })
    peers = {}
    for name, load in loaders.items():
        if torchaudio:
            peers[f"{name} + kaldi.fbank"] = lambda i, load=load: mel.kaldi(level(load(i)))
            peers[f"{name} + MelSpectrogram"] = lambda i, load=load: spectrogram(level(load(i)))
    if dali and codec in DALI_READS:
        peers["DALI alone"] = _dali_calls(_dali_pipeline, clips, mel, rate != RATE)
    return peers


# DALI builds a graph once and is fed a clip at a time.


def _dali_calls(define, clips, *args):
    """A function of a clip's number, or None where this DALI cannot."""
    try:
        graph = dali.pipeline_def(define, batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)(*args)
        graph.build()

        def call(i):
            graph.feed_input("clip", [np.frombuffer(clips[i], np.uint8) if isinstance(clips[i], bytes) else clips[i]])
            return np.asarray(graph.run()[0].at(0))

        call(0)
        return call
    except Exception as error:
        MISSING[f"DALI {define.__name__[6:]}"] = str(error).splitlines()[-1][:120]
        return None


def _dali_samples(**resample):
    encoded = dali.fn.external_source(name="clip", device="cpu")
    return dali.fn.decoders.audio(encoded, dtype=dali.types.FLOAT, downmix=True, **resample)[0]


def _dali_decode():
    return _dali_samples()


def _dali_mel(mel, center, samples=None):
    samples = dali.fn.external_source(name="clip", device="cpu") if samples is None else samples
    power = dali.fn.spectrogram(samples, nfft=mel.n_fft, window_length=mel.window, window_step=mel.hop,
                                center_windows=center)
    bands = dali.fn.mel_filter_bank(power, sample_rate=float(mel.rate), nfilter=mel.n_mels, freq_low=mel.low_hz,
                                    mel_formula="htk", normalize=False)
    return dali.fn.to_decibels(bands, cutoff_db=-100.0)


def _dali_pipeline(mel, resample):
    # 50 is DALI's default quality, near soxr's medium.
    samples = _dali_samples(**(dict(sample_rate=float(RATE), quality=50.0) if resample else {}))
    return _dali_mel(mel, False, samples)
