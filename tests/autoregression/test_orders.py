"""Groups with orders of their own: equal to fits of each order alone."""

import torch

from tsar.autoregression import Design, Segments, fit_closed_form, fit_orders

LENGTHS = torch.tensor([60, 30, 45])
ORDERS = torch.tensor([5, 2, 3])


def test_each_group_is_fitted_as_alone_with_its_own_order() -> None:
    generator = torch.Generator().manual_seed(0)
    channels = torch.randn(3, int(LENGTHS.sum()), generator=generator, dtype=torch.float64)
    starts = LENGTHS.cumsum(0) - LENGTHS
    segments = Segments(starts, LENGTHS, torch.arange(3), 3)
    design = Design(order=5, horizon=1, n_past=1, n_future=1)
    origin = torch.zeros(3, 3, dtype=torch.float64)
    fitted = fit_orders(channels, segments, design, ORDERS, origin=origin, bias_correction=True)
    for group, order in enumerate(ORDERS.tolist()):
        own = Design(order, 1, 1, 1)
        alone = fit_closed_form(
            channels, segments.take(torch.tensor([group])), own, bias_correction=True
        )
        blocks = [torch.arange(order), torch.arange(5, 5 + order), torch.tensor([10])]
        kept = torch.cat(blocks)
        torch.testing.assert_close(fitted.coef[group, 0, kept], alone.coef[0, 0])
        assert int(fitted.active[group].sum()) == int(alone.active.sum())
        torch.testing.assert_close(fitted.std_err[group, 0, kept], alone.std_err[0, 0])
        assert fitted.nobs[group] == alone.nobs[0]
        assert fitted.uncertainty is not None
        assert alone.uncertainty is not None
        n_active = alone.uncertainty.terms.shape[1]
        torch.testing.assert_close(
            fitted.uncertainty.terms[group, :n_active], kept[alone.uncertainty.terms[0]]
        )
