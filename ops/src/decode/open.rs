//! Opening a file with Symphonia: which track, which codec, where its audio lies, and what must not be decoded.

use std::sync::LazyLock;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known as id;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::aac::AacDecoder;
use super::codec::Codec;
use super::flac::FlacDecoder;
use super::matroska::{Matroska, MkvTrack, samples};
use super::mp3::Mp3Decoder;
use super::mp4::{Mp4, Mp4Track};
use super::opus::{self, OpusDecoder};
use super::packets::{Cut, Opened, Promise};
use super::sniff::Container;
use super::source::{Source, from_symphonia, guard};
use super::vorbis::VorbisDecoder;
use super::{aac, names};
use crate::OpError;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs
});

/// What our own reading of the headers found beside Symphonia's.
pub(super) enum Headers {
    Mp4(Mp4),
    Matroska(Matroska),
    None,
}

impl Headers {
    pub(super) fn read(source: &mut Source, container: Container) -> Result<Self, OpError> {
        let headers = match container {
            Container::Mp4 => Self::Mp4(Mp4::read(source)?),
            Container::Matroska => Self::Matroska(Matroska::read(source)?),
            _ => Self::None,
        };
        std::io::Seek::rewind(source)?;
        Ok(headers)
    }

    fn mp4_track(&self, id: u32) -> Option<(&Mp4, &Mp4Track)> {
        match self {
            Self::Mp4(mp4) => mp4.track(id).map(|track| (mp4, track)),
            _ => None,
        }
    }

    fn mkv_track(&self, id: u32) -> Option<&MkvTrack> {
        match self {
            Self::Matroska(mkv) => mkv.track(id),
            _ => None,
        }
    }
}

/// Lets Symphonia read the container's headers.
pub(super) fn demux(source: Source, container: Container, headers: &Headers) -> Result<Box<dyn FormatReader>, OpError> {
    if matches!(headers, Headers::Mp4(mp4) if !mp4.has_moov) {
        let detail = "MP4 without its moov box: the index at the end is missing (cut download or unfinished recording)";
        return Err(OpError::Truncated { detail: detail.into() });
    }
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    let (options, metadata) = (FormatOptions::default(), MetadataOptions::default());
    let probed = guard(|| symphonia::default::get_probe().probe(&Hint::new(), stream, options, metadata))?;
    probed.map_err(|error| match error {
        SymphoniaError::Unsupported(what) => {
            OpError::UnsupportedContainer { detail: format!("{}: {what}", container.name()) }
        }
        error => from_symphonia(error),
    })
}

/// Picks the audio track of `format` and makes its decoder, which may give the mean of the channels alone (`mono`).
pub(super) fn open_track(
    format: Box<dyn FormatReader>,
    container: Container,
    headers: &Headers,
    mono: bool,
) -> Result<(Opened, AudioCodecParameters), OpError> {
    let Some(track) = format.default_track(TrackType::Audio).or_else(|| format.tracks().first()) else {
        return Err(unknown_codec(container, headers));
    };
    let Some(CodecParameters::Audio(params)) = &track.codec_params else {
        return Err(unknown_codec(container, headers));
    };
    if params.codec != id::CODEC_ID_OPUS && CODECS.get_audio_decoder(params.codec).is_none() {
        return Err(match names::codec(params.codec) {
            "PCM" => unknown_codec(container, headers),
            name => OpError::UnsupportedCodec { codec: name.into() },
        });
    }
    let mut params = params.clone();
    if let Some(core_hz) =
        params.extra_data.as_deref().filter(|_| params.codec == id::CODEC_ID_AAC).and_then(aac::core_hz)
    {
        params.sample_rate = Some(core_hz);
    }
    refuse(&params, headers.mp4_track(track.id).map(|(_, track)| track))?;
    let opus = take_opus(&mut params, container)?;
    let lossless = names::is_lossless(params.codec);
    let cut = cut(track, &params, container, headers, opus.pre_skip)?;
    let promise = promise(track, cut, container, params.codec);
    // MPEG streams without a LAME tag have their length guessed, and gapless would cut to the guess; in CAF it cuts a
    // short last packet of ALAC once more. Elsewhere it is what drops Vorbis' first half block.
    let options = AudioDecoderOptions::default().gapless(!matches!(container, Container::Mpeg | Container::Caf));
    let codec = codec(&params, options, mono)?;
    let track_id = track.id;
    let seekable = container == Container::Flac;
    Ok((Opened { format, codec, track_id, lossless, seekable, gain: opus.gain, cut, promise }, params))
}

/// Our own decoder where there is one and it knows the stream, else Symphonia's.
fn codec(params: &AudioCodecParameters, options: AudioDecoderOptions, mono: bool) -> Result<Codec, OpError> {
    let setup = params.extra_data.as_deref().unwrap_or_default();
    let ours = match params.codec {
        id::CODEC_ID_OPUS => Some(Codec::Opus(OpusDecoder::new(n_channels(params), mono)?)),
        id::CODEC_ID_MP3 => Some(Codec::Mp3(Box::new(Mp3Decoder::new(mono)), options.gapless)),
        id::CODEC_ID_FLAC => FlacDecoder::new(setup, mono).map(|decoder| Codec::Flac(Box::new(decoder))),
        id::CODEC_ID_AAC => AacDecoder::new(setup, params.sample_rate, n_channels(params), mono)
            .map(|decoder| Codec::Aac(Box::new(decoder))),
        id::CODEC_ID_VORBIS => VorbisDecoder::new(setup, mono).map(|decoder| Codec::Vorbis(Box::new(decoder))),
        _ => None,
    };
    match ours {
        Some(codec) => Ok(codec),
        None => make(params, options).map(Codec::Symphonia),
    }
}

fn make(params: &AudioCodecParameters, options: AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>, OpError> {
    guard(|| CODECS.make_audio_decoder(params, &options))?.map_err(|error| match error {
        SymphoniaError::Unsupported(what) => {
            OpError::UnsupportedCodec { codec: format!("{} ({what})", names::codec(params.codec)) }
        }
        error => from_symphonia(error),
    })
}

fn n_channels(params: &AudioCodecParameters) -> usize {
    params.channels.as_ref().map_or(0, symphonia::core::audio::Channels::count)
}

/// Refuses what would decode wrongly.
fn refuse(params: &AudioCodecParameters, mp4: Option<&Mp4Track>) -> Result<(), OpError> {
    let channels = n_channels(params);
    let refusal = match params.codec {
        id::CODEC_ID_VORBIS if channels > 2 => {
            Some(format!("Vorbis with {channels} channels; mix it down first: ffmpeg -i in.ogg -ac 2 out.flac"))
        }
        id::CODEC_ID_OPUS if channels > 2 => {
            Some(format!("Opus with {channels} channels; mix it down first: ffmpeg -i in.opus -ac 2 out.flac"))
        }
        id::CODEC_ID_AAC if channels > 2 => {
            Some(format!("AAC with {channels} channels; mix it down first: ffmpeg -i in.m4a -ac 2 out.flac"))
        }
        id::CODEC_ID_AAC => {
            // The sample entry states the rate that is heard, the configuration that of the core.
            let core_hz = params.sample_rate.unwrap_or(0);
            let doubled = mp4.is_some_and(|mp4| mp4.entry_rate_hz == core_hz.saturating_mul(2) && core_hz <= 24_000);
            let by_config = params.extra_data.as_deref().and_then(aac::refuse_config);
            by_config.or_else(|| (doubled && core_hz > 0).then(names::he_aac))
        }
        _ => None,
    };
    refusal.map_or(Ok(()), |codec| Err(OpError::UnsupportedCodec { codec }))
}

fn unknown_codec(container: Container, headers: &Headers) -> OpError {
    let codec = match headers {
        Headers::Mp4(mp4) => mp4.tracks.first().map(|track| names::mp4_entry(track.entry)),
        Headers::Matroska(mkv) => mkv.tracks.first().map(|track| format!("Matroska codec {}", track.codec)),
        Headers::None => None,
    };
    let name = container.name();
    OpError::UnsupportedCodec {
        codec: codec.unwrap_or_else(|| format!("no audio track that is known in this {name} file")),
    }
}

/// What the Opus header says of place and level.
struct OpusHead {
    pre_skip: u64,
    gain: f32,
}

/// Takes the Opus header out of the parameters. It has another byte order in MP4. Source: RFC 7845, 5.1; the Opus in ISOBMFF mapping.
fn take_opus(params: &mut AudioCodecParameters, container: Container) -> Result<OpusHead, OpError> {
    if params.codec != id::CODEC_ID_OPUS {
        return Ok(OpusHead { pre_skip: 0, gain: 1.0 });
    }
    params.sample_rate = Some(opus::RATE_HZ);
    let head = params.extra_data.take().unwrap_or_default();
    let Some(fields) = head.get(9..19) else { return Ok(OpusHead { pre_skip: 0, gain: 1.0 }) };
    let word = |i: usize| {
        let bytes = [fields[i], fields[i + 1]];
        if container == Container::Mp4 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    };
    let (channels, family) = (fields[0], fields[9]);
    let one_stream = head.get(19..21) == Some(&[1, channels.saturating_sub(1)]);
    if family != 0 && !one_stream {
        let codec = format!("Opus with {channels} channels in separate streams (mapping family {family})");
        return Err(OpError::UnsupportedCodec { codec });
    }
    let gain = 10_f32.powf(f32::from(word(7) as i16) / (20.0 * 256.0));
    Ok(OpusHead { pre_skip: u64::from(word(1)), gain })
}

/// Where the audio lies among the decoded frames, from whichever header says it best.
fn cut(
    track: &Track,
    params: &AudioCodecParameters,
    container: Container,
    headers: &Headers,
    pre_skip: u64,
) -> Result<Cut, OpError> {
    let whole = Cut { delay: pre_skip, len: None, padding: 0 };
    let rate_hz = params.sample_rate.unwrap_or(0);
    if let Some((mp4, mp4_track)) = headers.mp4_track(track.id) {
        let presentation = mp4.presentation(mp4_track).map_err(|detail| OpError::UnsupportedContainer { detail })?;
        let frames = |ticks: u64| scale(ticks, rate_hz, mp4_track.timescale);
        // Without an edit list Opus still has its pre-skip.
        let delay = if presentation.start == 0 { pre_skip } else { frames(presentation.start) };
        let len = presentation.len.map(frames).filter(|&len| len > 0);
        return Ok(Cut {
            delay,
            len: len.map(|len| if presentation.start == 0 { len.saturating_sub(pre_skip) } else { len }),
            padding: 0,
        });
    }
    if let Some(mkv) = headers.mkv_track(track.id) {
        let delay = if pre_skip > 0 { pre_skip } else { samples(mkv.delay_ns, rate_hz) };
        return Ok(Cut { delay, len: None, padding: samples(mkv.padding_ns, rate_hz) });
    }
    Ok(match (container, track.delay) {
        (Container::Mpeg, Some(delay)) => Cut { delay: u64::from(delay), len: track.num_frames, padding: 0 },
        (Container::Caf, delay) => Cut { delay: delay.map_or(0, u64::from), len: track.num_frames, padding: 0 },
        _ => whole,
    })
}

/// `ticks` at `timescale` per second as frames at `rate_hz`, rounded.
fn scale(ticks: u64, rate_hz: u32, timescale: u32) -> u64 {
    let wide = u128::from(ticks) * u128::from(rate_hz) + u128::from(timescale / 2);
    wide.checked_div(u128::from(timescale)).map_or(ticks, |n| n.min(u128::from(u64::MAX)) as u64)
}

fn promise(track: &Track, cut: Cut, container: Container, codec: AudioCodecId) -> Promise {
    let opus = codec == id::CODEC_ID_OPUS;
    // Packets have no length of their own in Ogg and Matroska; in CAF writers disagree on ALAC's last one.
    let exact =
        names::is_pcm(codec) || names::is_lossless(codec) && matches!(container, Container::Flac | Container::Mp4);
    let stated = match container {
        // The end granule of Opus counts the pre-skip.
        Container::Ogg if opus => track.num_frames.map(|n| n.saturating_sub(cut.delay)),
        // Our own reading of the edit list; and without a LAME tag Symphonia's count is a guess from the bit rate.
        Container::Mp4 | Container::Mpeg | Container::Adts => cut.len,
        _ => track.num_frames,
    };
    match stated {
        None | Some(0) => Promise::None,
        Some(n) if exact && !matches!(container, Container::Ogg | Container::Matroska) => Promise::Exact(n),
        Some(n) => Promise::About(n),
    }
}
