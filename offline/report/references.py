"""The works that a report's methods cite, and the parser of citations in a paragraph."""

import re

from .bibtex import Reference

Segment = tuple[str, str]
"""Words and "", or "" and a reference's key."""

REFERENCES = {
    "allen2022": Reference(
        "Allen, Emily J. and St-Yves, Ghislain and Wu, Yihan and Breedlove, Jesse L. and Prince, Jacob S. and "
        "Dowdle, Logan T. and Nau, Matthias and Caron, Brad and Pestilli, Franco and Charest, Ian and "
        "Hutchinson, J. Benjamin and Naselaris, Thomas and Kay, Kendrick",
        2022,
        "A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial intelligence",
        "https://doi.org/10.1038/s41593-021-00962-x",
        journal="Nature Neuroscience", volume="25", pages="116–126",
    ),
    "benjamini1995": Reference(
        "Benjamini, Yoav and Hochberg, Yosef",
        1995,
        "Controlling the false discovery rate: a practical and powerful approach to multiple testing",
        "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
        journal="Journal of the Royal Statistical Society B", volume="57", pages="289–300",
    ),
    "caron2020": Reference(
        "Caron, Mathilde and Misra, Ishan and Mairal, Julien and Goyal, Priya and Bojanowski, Piotr and Joulin, "
        "Armand",
        2020,
        "Unsupervised learning of visual features by contrasting cluster assignments",
        "https://arxiv.org/abs/2006.09882",
        conference="Advances in Neural Information Processing Systems", volume="33",
    ),
    "ho2022": Reference(
        "Ho, Jonathan and Salimans, Tim",
        2022,
        "Classifier-free diffusion guidance",
        "https://arxiv.org/abs/2207.12598",
    ),
    "hoerl1970": Reference(
        "Hoerl, Arthur E. and Kennard, Robert W.",
        1970,
        "Ridge regression: biased estimation for nonorthogonal problems",
        "https://doi.org/10.1080/00401706.1970.10488634",
        journal="Technometrics", volume="12", pages="55–67",
    ),
    "holm1979": Reference(
        "Holm, Sture",
        1979,
        "A simple sequentially rejective multiple test procedure",
        "https://www.jstor.org/stable/4615733",
        journal="Scandinavian Journal of Statistics", volume="6", pages="65–70",
    ),
    "krizhevsky2012": Reference(
        "Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.",
        2012,
        "ImageNet classification with deep convolutional neural networks",
        "https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
        conference="Advances in Neural Information Processing Systems", volume="25",
    ),
    "lin2014": Reference(
        "Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and Ramanan, "
        "Deva and Dollár, Piotr and Zitnick, C. Lawrence",
        2014,
        "Microsoft COCO: common objects in context",
        "https://doi.org/10.1007/978-3-319-10602-1_48",
        conference="European Conference on Computer Vision", pages="740–755",
    ),
    "lu2022": Reference(
        "Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun",
        2022,
        "DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models",
        "https://arxiv.org/abs/2211.01095",
    ),
    "luo2023": Reference(
        "Luo, Simian and Tan, Yiqin and Huang, Longbo and Li, Jian and Zhao, Hang",
        2023,
        "Latent consistency models: synthesizing high-resolution images with few-step inference",
        "https://arxiv.org/abs/2310.04378",
    ),
    "naselaris2009": Reference(
        "Naselaris, Thomas and Prenger, Ryan J. and Kay, Kendrick N. and Oliver, Michael and Gallant, Jack L.",
        2009,
        "Bayesian reconstruction of natural images from human brain activity",
        "https://doi.org/10.1016/j.neuron.2009.09.006",
        journal="Neuron", volume="63", pages="902–915",
    ),
    "ozcelik2023": Reference(
        "Ozcelik, Furkan and VanRullen, Rufin",
        2023,
        "Natural scene reconstruction from fMRI signals using generative latent diffusion",
        "https://doi.org/10.1038/s41598-023-42891-8",
        journal="Scientific Reports", volume="13", pages="15666",
    ),
    "prince2022": Reference(
        "Prince, Jacob S. and Charest, Ian and Kurzawski, Jan W. and Pyles, John A. and Tarr, Michael J. and "
        "Kay, Kendrick N.",
        2022,
        "Improving the accuracy of single-trial fMRI response estimates using GLMsingle",
        "https://doi.org/10.7554/eLife.77599",
        journal="eLife", volume="11", pages="e77599",
    ),
    "radford2021": Reference(
        "Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and Agarwal, "
        "Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and Krueger, "
        "Gretchen and Sutskever, Ilya",
        2021,
        "Learning transferable visual models from natural language supervision",
        "https://arxiv.org/abs/2103.00020",
        conference="International Conference on Machine Learning",
    ),
    "rombach2022": Reference(
        "Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick and Ommer, Björn",
        2022,
        "High-resolution image synthesis with latent diffusion models",
        "https://doi.org/10.1109/CVPR52688.2022.01042",
        conference="IEEE/CVF Conference on Computer Vision and Pattern Recognition", pages="10684–10695",
    ),
    "scotti2023": Reference(
        "Scotti, Paul S. and Banerjee, Atmadeep and Goode, Jimmie and Shabalin, Stepan and Nguyen, Alex and "
        "Cohen, Ethan and Dempster, Aidan J. and Verlinde, Nathalie and Yundler, Elad and Weisberg, David and "
        "Norman, Kenneth A. and Abraham, Tanishq Mathew",
        2023,
        "Reconstructing the mind’s eye: fMRI-to-image with contrastive learning and diffusion priors",
        "https://arxiv.org/abs/2305.18274",
        conference="Advances in Neural Information Processing Systems", volume="36",
    ),
    "song2021": Reference(
        "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
        2021,
        "Denoising diffusion implicit models",
        "https://arxiv.org/abs/2010.02502",
        conference="International Conference on Learning Representations",
    ),
    "szegedy2016": Reference(
        "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jonathon and Wojna, Zbigniew",
        2016,
        "Rethinking the Inception architecture for computer vision",
        "https://doi.org/10.1109/CVPR.2016.308",
        conference="IEEE Conference on Computer Vision and Pattern Recognition", pages="2818–2826",
    ),
    "takagi2023": Reference(
        "Takagi, Yu and Nishimoto, Shinji",
        2023,
        "High-resolution image reconstruction with latent diffusion models from human brain activity",
        "https://doi.org/10.1109/CVPR52729.2023.01389",
        conference="IEEE/CVF Conference on Computer Vision and Pattern Recognition", pages="14453–14463",
    ),
    "tan2019": Reference(
        "Tan, Mingxing and Le, Quoc V.",
        2019,
        "EfficientNet: rethinking model scaling for convolutional neural networks",
        "https://arxiv.org/abs/1905.11946",
        conference="International Conference on Machine Learning",
    ),
    "wang2004": Reference(
        "Wang, Zhou and Bovik, Alan C. and Sheikh, Hamid R. and Simoncelli, Eero P.",
        2004,
        "Image quality assessment: from error visibility to structural similarity",
        "https://doi.org/10.1109/TIP.2003.819861",
        journal="IEEE Transactions on Image Processing", volume="13", pages="600–612",
    ),
    "zheng2024": Reference(
        "Zheng, Jianbin and Hu, Minghui and Fan, Zhongyi and Wang, Chaoyue and Ding, Changxing and Tao, Dacheng "
        "and Cham, Tat-Jen",
        2024,
        "Trajectory consistency distillation",
        "https://arxiv.org/abs/2402.19159",
    ),
}  # fmt: skip


def segments(text: str) -> list[Segment]:
    """Split "words {key} words" into segments. Commas separate several keys in one pair of braces.

    Braces without known keys stay words, because folders and sessions may have such names.
    """
    found: list[Segment] = []
    for part in re.split(r"(\{[a-z]+\d{4}(?:,[a-z]+\d{4})*\})", text):
        keys = part[1:-1].split(",")
        if part.startswith("{") and all(key in REFERENCES for key in keys):
            for n, key in enumerate(keys):
                found += [("; " if n else "(", ""), ("", key)]
            found.append((")", ""))
        elif part:
            found.append((part, ""))
    return found


def cited(texts: list[tuple[str, list[Segment]]]) -> dict[str, Reference]:
    """Return the references that paragraphs cite, in the order of `REFERENCES`."""
    keys = {key for _, parts in texts for _, key in parts}
    return {key: reference for key, reference in REFERENCES.items() if key in keys}
