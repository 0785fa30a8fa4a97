//! The usual names of codecs that are not decoded, and what to do about them.

use symphonia::core::codecs::audio::{AudioCodecId, well_known as id};

/// The refusal of HE-AAC, with its cure.
pub(super) fn he_aac() -> String {
    "HE-AAC (AAC with spectral band replication); convert it first: ffmpeg -i in.m4a out.flac".into()
}

/// A Symphonia codec by its usual name.
pub(super) fn codec(codec: AudioCodecId) -> &'static str {
    match codec {
        id::CODEC_ID_VORBIS => "Vorbis",
        id::CODEC_ID_OPUS => "Opus",
        id::CODEC_ID_FLAC => "FLAC",
        id::CODEC_ID_ALAC => "ALAC",
        id::CODEC_ID_AAC => "AAC-LC",
        id::CODEC_ID_MP1 => "MP1",
        id::CODEC_ID_MP2 => "MP2",
        id::CODEC_ID_MP3 => "MP3",
        id::CODEC_ID_PCM_ALAW => "A-law",
        id::CODEC_ID_PCM_MULAW => "mu-law",
        id::CODEC_ID_ADPCM_MS => "MS ADPCM",
        id::CODEC_ID_ADPCM_IMA_WAV | id::CODEC_ID_ADPCM_IMA_QT => "IMA ADPCM",
        id::CODEC_ID_ADPCM_G722 => "G.722",
        id::CODEC_ID_ADPCM_G726 | id::CODEC_ID_ADPCM_G726LE => "G.726",
        id::CODEC_ID_SPEEX => "Speex",
        id::CODEC_ID_MUSEPACK => "Musepack",
        id::CODEC_ID_AC3 => "AC-3",
        id::CODEC_ID_EAC3 => "E-AC-3",
        id::CODEC_ID_AC4 => "AC-4",
        id::CODEC_ID_DCA => "DTS",
        id::CODEC_ID_WMA => "WMA",
        id::CODEC_ID_WAVPACK => "WavPack",
        id::CODEC_ID_MONKEYS_AUDIO => "Monkey's Audio",
        id::CODEC_ID_TTA => "TTA",
        id::CODEC_ID_TRUEHD => "TrueHD",
        _ => "PCM",
    }
}

/// Whether a codec gives back exactly what went in.
pub(super) fn is_lossless(codec: AudioCodecId) -> bool {
    matches!(codec, id::CODEC_ID_FLAC | id::CODEC_ID_ALAC) || is_pcm(codec)
}

/// Whether a codec is linear PCM of any layout, or G.711: a fixed number of bytes a sample.
pub(super) fn is_pcm(codec: AudioCodecId) -> bool {
    PCM.contains(&codec)
}

const PCM: [AudioCodecId; 20] = [
    id::CODEC_ID_PCM_S32LE,
    id::CODEC_ID_PCM_S32BE,
    id::CODEC_ID_PCM_S24LE,
    id::CODEC_ID_PCM_S24BE,
    id::CODEC_ID_PCM_S16LE,
    id::CODEC_ID_PCM_S16BE,
    id::CODEC_ID_PCM_S8,
    id::CODEC_ID_PCM_U32LE,
    id::CODEC_ID_PCM_U32BE,
    id::CODEC_ID_PCM_U24LE,
    id::CODEC_ID_PCM_U24BE,
    id::CODEC_ID_PCM_U16LE,
    id::CODEC_ID_PCM_U16BE,
    id::CODEC_ID_PCM_U8,
    id::CODEC_ID_PCM_F32LE,
    id::CODEC_ID_PCM_F32BE,
    id::CODEC_ID_PCM_F64LE,
    id::CODEC_ID_PCM_F64BE,
    id::CODEC_ID_PCM_ALAW,
    id::CODEC_ID_PCM_MULAW,
];

/// The codec behind the format tag of a WAV file.
pub(super) fn wav_tag(tag: u16) -> String {
    let name = match tag {
        0x31 | 0x32 => "GSM 6.10",
        0x50 => "MP2 in WAV (rename it to .mp2, or: ffmpeg -i in.wav out.flac)",
        0x55 => "MP3 in WAV (ffmpeg -i in.wav out.flac)",
        0x14 | 0x40 | 0x45 | 0x64 => "G.721 or G.726 ADPCM",
        0x28F | 0x65 => "G.722",
        0xFF | 0x706D | 0xA106 | 0x1600 | 0x1602 | 0x1610 => "AAC in WAV",
        0x160..=0x163 => "WMA",
        0x2000 | 0x92 => "AC-3",
        0x2001 => "DTS",
        0x674F..=0x6771 => "Vorbis in WAV",
        0xF1AC => "FLAC in WAV",
        0x5756 => "WavPack",
        0xA109 => "Speex",
        0x22 => "TrueSpeech",
        0x111 | 0x42 => "G.723.1",
        0x83 => "G.729",
        0x75 => "Voxware",
        0x270 => "ATRAC3",
        _ => return format!("WAV format tag 0x{tag:04X}"),
    };
    name.into()
}

/// The codec behind an MP4 sample entry.
pub(super) fn mp4_entry(entry: [u8; 4]) -> String {
    let name = match &entry {
        b"samr" => "AMR",
        b"sawb" => "AMR-WB",
        b"sawp" => "AMR-WB+",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"ac-4" => "AC-4",
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" => "DTS",
        b"mlpa" => "TrueHD",
        b"enca" | b"drms" => "encrypted audio (DRM)",
        b"QDM2" | b"QDMC" => "QDesign Music",
        b"agsm" => "GSM",
        b"mha1" | b"mhm1" => "MPEG-H",
        _ => return format!("MP4 sample entry '{}'", entry.escape_ascii()),
    };
    name.into()
}
