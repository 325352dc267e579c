"""
Audio frames in a few numbers
=============================

A recording becomes a table when it is cut into frames, with the logarithms of the energy in
each band of the mel scale as columns. The autoencoder then compresses every frame to a few
numbers, and ``inverse_transform`` gives a spectrogram back. This example does so for spoken
digits (Free Spoken Digit Dataset, CC BY-SA 4.0) if the environment variable ``SKAE_DATA``
names a folder with ``fsdd_logmel_frames.npz``, and otherwise for sounds that it makes.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import ShortTimeFFT
from sklearn.decomposition import PCA

from skae import AutoencoderTransformer

RATE, N_BANDS = 8000, 32  # samples per second, bands of the mel scale

# %%
# Frames
# ------
# Sounds are made of a tone that glides, its harmonics, filtered by two resonances, and
# noise: a caricature of speech. A spectrogram of 256 samples every 128 samples is summed
# over triangular bands, which are equally wide on the mel scale.


def sound(rng):
    """Make a second of sound, (8000,)."""
    time = np.arange(RATE) / RATE
    pitch = rng.uniform(80, 250) * np.exp(rng.uniform(-0.5, 0.5) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    resonances = rng.uniform([300, 900], [900, 3000])
    signal = np.zeros(RATE)
    for harmonic in range(1, 16):
        far = (harmonic * pitch[:, None] - resonances) / 150
        signal += (1 / (1 + far**2)).sum(axis=1) * np.sin(harmonic * phase)
    loudness = np.sin(np.pi * time) ** rng.uniform(0.5, 4)
    return loudness * signal + 0.003 * rng.normal(size=RATE)


def log_mel(signal):
    """Return the log-mel frames (n_frames, N_BANDS) of a sound."""
    stft = ShortTimeFFT(np.hanning(256), hop=128, fs=RATE)
    energy = stft.spectrogram(signal).T  # (n_frames, n_frequencies)
    mel = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), N_BANDS + 2)
    corners = 700 * (10 ** (mel / 2595) - 1)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rise, fall = (stft.f - low) / (peak - low), (high - stft.f) / (high - peak)
    bands = np.clip(np.minimum(rise, fall), 0, None)  # (N_BANDS, n_frequencies)
    return np.log(energy @ bands.T + 1e-8)


def frames():
    """Return training frames, test frames, and the recording of each test frame."""
    path = Path(os.environ.get("SKAE_DATA", "")) / "fsdd_logmel_frames.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return file["X_train"][::4], file["X_test"], file["recording_test"]
    rng = np.random.default_rng(0)
    recordings = [log_mel(sound(rng)) for _ in range(150)]
    test = recordings[120:]
    numbers = np.repeat(np.arange(len(test)), [len(X) for X in test])
    return np.vstack(recordings[:120]), np.vstack(test), numbers


X_train, X_test, recording = frames()
print(f"{X_train.shape[0]} training frames of {X_train.shape[1]} bands")

# %%
# Compression
# -----------
# Frames of one recording resemble each other. Test frames therefore come from recordings of
# which no frame was trained on.

models = {
    "PCA, 4 numbers": PCA(4).fit(X_train),
    "autoencoder, 4 numbers": AutoencoderTransformer(4, random_state=0).fit(X_train),
}
rebuilt = {}
for name, model in models.items():
    rebuilt[name] = model.inverse_transform(model.transform(X_test))
    error = np.square(rebuilt[name] - X_test).mean() / X_test.var(axis=0).mean()
    print(f"{name}: {error:.1%} of the variance is lost")

# %%
# Spectrograms
# ------------
# Time goes to the right and frequency upwards. The recording is that of the test recordings
# whose error by the autoencoder is the median.

ours = np.square(rebuilt["autoencoder, 4 numbers"] - X_test).mean(axis=1)
numbers = np.unique(recording)
errors = [ours[recording == number].mean() for number in numbers]
shown = recording == numbers[np.argsort(errors)[len(errors) // 2]]
pictures = {"recording": X_test[shown]} | {k: v[shown] for k, v in rebuilt.items()}
low, high = np.percentile(X_test[shown], [2, 100])
figure, axes = plt.subplots(
    1, 3, figsize=(7.2, 2.4), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    image = ax.imshow(
        picture.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high
    )
    ax.set_title(name, fontsize="medium")
    ax.set_xlabel("frame")
axes[0].set_ylabel("mel band")
figure.colorbar(image, ax=axes, label="log energy")

plt.show()
