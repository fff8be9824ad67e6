"""Products, factors and bases of large matrices: on a CPU numpy's and scipy's.

torch's own on a CPU (MKL) are slower on an AMD processor: products by 5 to 40 %, factors by half.
"""

import torch


def matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right: (n_rows, n) and (n, n_columns) of one dtype → (n_rows, n_columns)."""
    if left.device.type != "cpu":
        return left @ right
    return torch.from_numpy(left.numpy() @ right.numpy())


def gram(columns: torch.Tensor) -> torch.Tensor:
    """Return the Gram matrix of a matrix's columns, their inner products: (n_rows, n) → (n, n), of its dtype."""
    if columns.device.type != "cpu":
        return columns.T @ columns
    array = columns.numpy()
    return torch.from_numpy(array.T @ array)  # numpy sees the symmetry and does half the work


def cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Return the lower Cholesky factor of a matrix, (n, n) float32 or float64; on a CPU it overwrites the matrix."""
    if matrix.device.type != "cpu":
        return torch.linalg.cholesky(matrix)
    # scipy takes 0.2 s to import, and only a fit needs it.
    from scipy.linalg import cholesky as factored

    # LAPACK stores columns first: it gets the transpose, whose upper factor has the lower factor's memory layout.
    return torch.from_numpy(factored(matrix.numpy().T, overwrite_a=True, check_finite=False).T)


def cholesky_solve(columns: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return (L Lᵀ)⁻¹ columns, (n, n_columns), for the lower Cholesky factor L, (n, n)."""
    if columns.device.type != "cpu":
        return torch.cholesky_solve(columns, factor)
    from scipy.linalg import cho_solve

    return torch.from_numpy(cho_solve((factor.numpy().T, False), columns.numpy(), check_finite=False))


def whiten(rows: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Return rows L⁻ᵀ, (n_rows, n), whose inner products are rows (L Lᵀ)⁻¹ rowsᵀ."""
    if rows.device.type != "cpu":
        return torch.linalg.solve_triangular(factor.T, rows, upper=True, left=False)
    from scipy.linalg import get_blas_funcs

    upper, columns = factor.numpy().T, rows.numpy().T
    (solve,) = get_blas_funcs(["trsm"], (upper, columns))
    return torch.from_numpy(solve(1.0, upper, columns, trans_a=1).T)


def leading_basis(values: torch.Tensor, size: int) -> torch.Tensor:
    """Return an orthonormal basis that nearly spans a matrix's leading left singular vectors, (n_rows, size).

    Randomised subspace iteration (Halko, Martinsson & Tropp 2011) with two iterations.
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    start = torch.randn(values.shape[1], size, generator=generator).to(values)
    basis = torch.linalg.qr(matmul(values, start))[0]
    for _ in range(2):
        basis = torch.linalg.qr(matmul(values, matmul(values.T, basis)))[0]
    return basis
