"""The works that a report's methods cite, and the parser of citations in a paragraph."""

import re
from typing import NamedTuple

Segment = tuple[str, str]
"""Words and "", or "" and a reference's key."""


class Reference(NamedTuple):
    """A cited work: `short` in the text, `full` in the list of references, and its URL."""

    short: str
    full: str
    url: str


REFERENCES = {
    "allen2022": Reference(
        "Allen et al., 2022",
        "Allen, E. J., et al. (2022). A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial "
        "intelligence. Nature Neuroscience 25, 116–126.",
        "https://doi.org/10.1038/s41593-021-00962-x",
    ),
    "benjamini1995": Reference(
        "Benjamini & Hochberg, 1995",
        "Benjamini, Y., & Hochberg, Y. (1995). Controlling the false discovery rate: a practical and powerful approach "
        "to multiple testing. Journal of the Royal Statistical Society B 57, 289–300.",
        "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    ),
    "caron2020": Reference(
        "Caron et al., 2020",
        "Caron, M., et al. (2020). Unsupervised learning of visual features by contrasting cluster assignments. "
        "NeurIPS.",
        "https://arxiv.org/abs/2006.09882",
    ),
    "ho2022": Reference(
        "Ho & Salimans, 2022",
        "Ho, J., & Salimans, T. (2022). Classifier-free diffusion guidance.",
        "https://arxiv.org/abs/2207.12598",
    ),
    "hoerl1970": Reference(
        "Hoerl & Kennard, 1970",
        "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal problems. "
        "Technometrics 12, 55–67.",
        "https://doi.org/10.1080/00401706.1970.10488634",
    ),
    "krizhevsky2012": Reference(
        "Krizhevsky et al., 2012",
        "Krizhevsky, A., Sutskever, I., & Hinton, G. E. (2012). ImageNet classification with deep convolutional neural "
        "networks. NeurIPS.",
        "https://doi.org/10.1145/3065386",
    ),
    "lin2014": Reference(
        "Lin et al., 2014",
        "Lin, T.-Y., et al. (2014). Microsoft COCO: common objects in context. ECCV.",
        "https://arxiv.org/abs/1405.0312",
    ),
    "lu2022": Reference(
        "Lu et al., 2022",
        "Lu, C., et al. (2022). DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models.",
        "https://arxiv.org/abs/2211.01095",
    ),
    "luo2023": Reference(
        "Luo et al., 2023",
        "Luo, S., et al. (2023). Latent consistency models: synthesizing high-resolution images with few-step "
        "inference.",
        "https://arxiv.org/abs/2310.04378",
    ),
    "naselaris2009": Reference(
        "Naselaris et al., 2009",
        "Naselaris, T., et al. (2009). Bayesian reconstruction of natural images from human brain activity. Neuron 63, "
        "902–915.",
        "https://doi.org/10.1016/j.neuron.2009.09.006",
    ),
    "ozcelik2023": Reference(
        "Ozcelik & VanRullen, 2023",
        "Ozcelik, F., & VanRullen, R. (2023). Natural scene reconstruction from fMRI signals using generative latent "
        "diffusion. Scientific Reports, 13, 15666.",
        "https://doi.org/10.1038/s41598-023-42891-8",
    ),
    "prince2022": Reference(
        "Prince et al., 2022",
        "Prince, J. S., et al. (2022). Improving the accuracy of single-trial fMRI response estimates using GLMsingle. "
        "eLife 11, e77599.",
        "https://doi.org/10.7554/eLife.77599",
    ),
    "radford2021": Reference(
        "Radford et al., 2021",
        "Radford, A., et al. (2021). Learning transferable visual models from natural language supervision. ICML.",
        "https://arxiv.org/abs/2103.00020",
    ),
    "rombach2022": Reference(
        "Rombach et al., 2022",
        "Rombach, R., et al. (2022). High-resolution image synthesis with latent diffusion models. CVPR, 10684–10695.",
        "https://doi.org/10.1109/CVPR52688.2022.01042",
    ),
    "scotti2023": Reference(
        "Scotti et al., 2023",
        "Scotti, P. S., et al. (2023). Reconstructing the mind’s eye: fMRI-to-image with contrastive learning and "
        "diffusion priors. NeurIPS.",
        "https://arxiv.org/abs/2305.18274",
    ),
    "song2021": Reference(
        "Song et al., 2021",
        "Song, J., Meng, C., & Ermon, S. (2021). Denoising diffusion implicit models. ICLR.",
        "https://arxiv.org/abs/2010.02502",
    ),
    "szegedy2016": Reference(
        "Szegedy et al., 2016",
        "Szegedy, C., et al. (2016). Rethinking the Inception architecture for computer vision. CVPR.",
        "https://arxiv.org/abs/1512.00567",
    ),
    "takagi2023": Reference(
        "Takagi & Nishimoto, 2023",
        "Takagi, Y., & Nishimoto, S. (2023). High-resolution image reconstruction with latent diffusion models from "
        "human brain activity. CVPR, 14453–14463.",
        "https://doi.org/10.1109/CVPR52729.2023.01389",
    ),
    "tan2019": Reference(
        "Tan & Le, 2019",
        "Tan, M., & Le, Q. V. (2019). EfficientNet: rethinking model scaling for convolutional neural networks. ICML.",
        "https://arxiv.org/abs/1905.11946",
    ),
    "wang2004": Reference(
        "Wang et al., 2004",
        "Wang, Z., et al. (2004). Image quality assessment: from error visibility to structural similarity. IEEE "
        "Transactions on Image Processing 13, 600–612.",
        "https://doi.org/10.1109/TIP.2003.819861",
    ),
    "zheng2024": Reference(
        "Zheng et al., 2024",
        "Zheng, J., et al. (2024). Trajectory consistency distillation.",
        "https://arxiv.org/abs/2402.19159",
    ),
}


def segments(text: str) -> list[Segment]:
    """Split "words {key} words" into segments. Commas separate several keys in one pair of braces.

    Raises
    ------
    KeyError
        If a key is not in `REFERENCES`.
    """
    found: list[Segment] = []
    for part in re.split(r"(\{[a-z]+\d{4}(?:,[a-z]+\d{4})*\})", text):
        if part.startswith("{") and part.endswith("}"):
            for n, key in enumerate(part[1:-1].split(",")):
                found += [("; " if n else "(", ""), ("", key)]
                REFERENCES[key]
            found.append((")", ""))
        elif part:
            found.append((part, ""))
    return found


def cited(texts: list[tuple[str, list[Segment]]]) -> dict[str, Reference]:
    """Return the references that paragraphs cite, in the order of `REFERENCES`."""
    keys = {key for _, parts in texts for _, key in parts}
    return {key: reference for key, reference in REFERENCES.items() if key in keys}
