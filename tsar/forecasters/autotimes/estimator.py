"""AutoTimes: a frozen language model as forecaster, whose tokens are segments of a series."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.data.batch import Context
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters.autotimes.backbone import BackboneOptions, Fingerprint, load_backbone
from tsar.forecasters.autotimes.density import DENSITIES
from tsar.forecasters.autotimes.generation import Generation, generate
from tsar.forecasters.autotimes.heads import Head, Loss
from tsar.forecasters.autotimes.module import AutoTimesModule, Init
from tsar.forecasters.autotimes.options import (
    CONSTRAINTS,
    GENERATION,
    PROMPTS,
    Precision,
    resolve_precision,
)
from tsar.forecasters.autotimes.prompts import Strategy, prompted_windows
from tsar.forecasters.autotimes.sampling import QUANTILE_PATHS, sample_paths, uniforms
from tsar.forecasters.autotimes.speculation import Speculation
from tsar.forecasters.autotimes.timestamps import timestamp_embedding
from tsar.forecasters.fitting import Prediction, ScaledBatch, map_windows
from tsar.forecasters.neural import NeuralForecaster
from tsar.nn.module import ForecastModule
from tsar.runtime.devices import resolve_device
from tsar.training import Training
from tsar.validation import IncompatibleModelError, check_parameters


class AutoTimes(NeuralForecaster):
    """A frozen decoder-only language model whose tokens are segments of a series.

    Each output of the model predicts the next segment. Only the maps between segments and tokens
    are trained. A fitted model forecasts any horizon, from contexts of any length, and also series
    on which it was not trained (zero-shot).

    Parameters
    ----------
    context_length
        Number of points that a forecast reads.
    horizon
        Number of points to forecast: in training, in the calibration of intervals, and by default
        in `predict`, which may go further.
    segment_length
        Number of points of a token: a season, or a part of one.
    backbone
        ``"smollm2"`` (SmolLM2-135M, with the llm extra), a folder or a name on the Hugging Face
        hub of any decoder-only model, or None: a small transformer that is trained from scratch.
    depth
        Number of blocks of the backbone, the first ones; None for all, or 3 from scratch. On ETTh1
        6 blocks of SmolLM2 forecast no better than 2, and take longer.
    backbone_init
        ``"pretrained"``, or ``"random"``: frozen random weights, as a control.
    lora
        Rank of LoRA adapters, which are trained too; None for none.
    width
        Width of a backbone from scratch.
    hidden
        Widths of the hidden layers between segments and tokens; empty for linear maps.
    dropout
        Dropout rate of hidden states in training, in [0, 1).
    timestamps
        Timestamp embedding added to each token: ``"text"`` (the backbone's embedding of a sentence
        that names the time), ``"calendar"`` (a linear map of sines and cosines of the time), or
        None.
    loss
        ``"mse"``, ``"mae"``, ``"quantile"``, or the negative log likelihood of a density:
        ``"gaussian"``, ``"student_t"``. Quantiles are forecast for one segment; a density has
        quantiles at any horizon, by sample paths.
    quantile_levels
        Quantile levels in (0, 1) of ``loss="quantile"``, 0.5 among them.
    init
        Initial weights of the projection from hidden states to segments: ``"random"``, or
        ``"ridge"``, fitted by ridge regression (only without `hidden` layers).
    generation
        How a forecast continues after the first segment. ``"exact"``: the newest points are encoded
        again for each segment, as in the paper. ``"cached"``: keys and values are cached, and the
        context grows; faster by about the number of segments. ``"speculative"``: cached, and a
        linear autoregression proposes several segments, which the backbone checks in one pass.
        Sample paths, and quantiles from them, are then generated as with ``"cached"``.
    tolerance
        With ``"speculative"``: a proposed segment is accepted if the root mean square of its
        difference from the backbone's forecast is at most this, in standard deviations of the
        context; 0 gives the forecast of ``"cached"``.
    draft_length
        With ``"speculative"``: number of segments proposed at once.
    prompts
        In-context prompts, earlier stretches that are read before each context: ``"first"`` (the
        first points of the series), ``"last"`` (those just before the context), ``"phase"`` (the
        newest that ends in the same phase of the season), ``"nearest"`` (the nearest neighbour of
        the context among all series, and what followed it), ``"auto"`` (by phase, else the last,
        else none), or None. A model fitted with prompts keeps the whole history of its series. See
        also `use_prompts`.
    prompt_length
        Number of points of a prompt; None for `context_length`.
    gradient_checkpointing
        Whether the backward pass recomputes the blocks instead of storing their activations: less
        memory, more time. It does not affect the result.
    precision
        Precision of the frozen weights; ``"auto"``: bfloat16 where the device supports it.
    training
        Options of the training; None for `AutoTimes.recipe`.
    columns
        How to read frames.
    inference_batch_size
        Number of contexts forecast at once, lowered where memory runs out; it does not affect the
        result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of weights and batches; above 0 for a progress bar.

    Attributes
    ----------
    module_
        The trained module.
    n_parameters_
        Number of trained parameters.
    history_
        Training and validation loss of each epoch.
    backbone_
        Name and digest of the backbone, whose frozen weights are not saved with the model.
    calibration_
        Errors on the points held back, from which intervals are computed.

    References
    ----------
    Liu, Qin, Huang, Wang & Long 2024, "AutoTimes: Autoregressive Time Series Forecasters via Large
    Language Models" (arXiv 2402.02370).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import AutoTimes
    >>> wave = np.sin(np.arange(300) * 2 * np.pi / 12)
    >>> model = AutoTimes(48, segment_length=12, backbone=None, depth=1, width=32, random_state=0)
    >>> model.fit(wave).predict(horizon=30).shape
    (30,)
    """

    module_: AutoTimesModule
    recipe: ClassVar[Training] = Training(
        epochs=6,
        learning_rate=5e-3,
        batch_size=64,
        epoch_windows=8192,
        validation_windows=2048,
        patience=3,
        ema_decay=0.99,
    )

    def __init__(
        self,
        context_length: int = 672,
        *,
        horizon: int = 96,
        segment_length: int = 96,
        backbone: str | None = "smollm2",
        depth: int | None = 2,
        backbone_init: Literal["pretrained", "random"] = "pretrained",
        lora: int | None = None,
        width: int = 128,
        hidden: Sequence[int] = (),
        dropout: float = 0.1,
        timestamps: Literal["text", "calendar"] | None = None,
        loss: Loss = "mse",
        quantile_levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        init: Init = "random",
        generation: Literal["exact", "cached", "speculative"] = "exact",
        tolerance: float = 0.1,
        draft_length: int = 4,
        prompts: Strategy | None = None,
        prompt_length: int | None = None,
        gradient_checkpointing: bool = False,
        precision: Precision = "auto",
        training: Training | None = None,
        columns: Columns | None = None,
        inference_batch_size: int = 256,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.segment_length = segment_length
        self.backbone = backbone
        self.depth = depth
        self.backbone_init = backbone_init
        self.lora = lora
        self.width = width
        self.hidden = hidden
        self.dropout = dropout
        self.timestamps = timestamps
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.init = init
        self.generation = generation
        self.tolerance = tolerance
        self.draft_length = draft_length
        self.prompts = prompts
        self.prompt_length = prompt_length
        self.gradient_checkpointing = gradient_checkpointing
        self.precision = precision
        self.training = training
        self.columns = columns
        self.inference_batch_size = inference_batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def use_prompts(self, frame: Any) -> "AutoTimes":
        """Take prompts from the series of a frame, in every forecast from now on.

        Parameters
        ----------
        frame
            Series in any layout that `fit` accepts, of the frequency of the series to forecast.
            They are searched by the strategy `prompts`, or ``"nearest"`` where that is None. None:
            take prompts from the history of the series to forecast again, as `prompts` says.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            `fit` was not called.
        ValueError, TypeError
            The frame can't be read.
        """
        check_is_fitted(self, "context_")
        if frame is None:
            self.__dict__.pop("prompt_pool_", None)
        else:
            self.prompt_pool_ = self._read_history(frame)
        return self

    def _facts(self) -> list[tuple[str, str]]:
        total = sum(p.numel() for p in self.module_.parameters())
        return [
            ("backbone", str(self.backbone_["name"]) or "from scratch"),
            ("digest", str(self.backbone_["digest"])[:12]),
            *super()._facts(),
            ("all parameters", f"{total:,}"),
            ("share trained", f"{self.n_parameters_ / total:.2%}"),
        ]

    @property
    def can_sample(self) -> bool:
        """Whether `forecast(n_samples=...)` works: with a density as `loss`."""
        return self.loss in DENSITIES

    def _sample(self, windows: Windows, n_samples: int) -> Float[Tensor, "window path horizon"]:
        windows.check_last_observed()
        prepared = self._prepare_windows(windows)

        def compute(batch: ScaledBatch) -> Tensor:
            uniform = uniforms(batch.rows, n_samples, windows.horizon, self.seed_)
            samples = self._sample_paths(batch.context, uniform)
            return samples.movedim(1, -1).cpu().double()

        values = map_windows(
            compute,
            self.module_,
            prepared,
            self._fitted_rows(prepared.panel),
            self.scaling_,
            batch_size=self.inference_batch_size,
            device=resolve_device(self.device),
        )
        return values.movedim(-1, 1)

    def _sample_paths(self, context: Context, uniform: Tensor) -> Tensor:
        """Sample paths (batch, path, horizon) in scaled units."""
        check_parameters("AutoTimes", self, GENERATION)  # they may be set after fit
        generation: Literal["exact", "cached"] = "exact" if self.generation == "exact" else "cached"
        uniform = uniform.to(context.values)
        return sample_paths(self.module_, context, uniform, generation, self.inference_batch_size)

    def _generate(self, context: Context, horizon: int) -> Float[Tensor, "batch horizon output"]:
        check_parameters("AutoTimes", self, GENERATION)  # they may be set after fit
        generation: Generation = (
            Speculation(self.tolerance, self.draft_length)
            if self.generation == "speculative"
            else self.generation
        )
        return generate(self.module_, context, horizon, generation)

    def _quantiles(
        self, prediction: Prediction, levels: tuple[float, ...], gap: int
    ) -> Float[Tensor, "batch horizon level"]:
        density, output = self.module_.density, prediction.output
        if density is None:
            return super()._quantiles(prediction, levels, gap)
        quantiles = density.quantiles(output, levels)
        if output.shape[1] > self.module_.horizon:
            # The same random numbers for every row: no series depends on the other rows.
            uniform = uniforms([0], QUANTILE_PATHS, output.shape[1], 0)
            uniform = uniform.expand(len(output), -1, -1, -1)
            paths = self._sample_paths(prediction.context, uniform)
            sampled = paths.quantile(output.new_tensor(levels), dim=1).movedim(0, -1)
            # In the first segment the density itself has quantiles.
            quantiles[:, self.module_.horizon :] = sampled[:, self.module_.horizon :]
        return quantiles.cpu().double()

    def _read_history(self, frame: Any) -> Panel:
        if frame is not None:
            # Timestamp embeddings are trained at one frequency.
            return self._read(frame, any_frequency=self.timestamps is None)
        check_parameters("AutoTimes", self, PROMPTS)  # they may be set after fit
        if self.prompts is not None and not (self.keeps_history_ or hasattr(self, "prompt_pool_")):
            raise ValueError(
                "frame must be given with prompts that were set after fit, which kept no history; "
                f"got None with prompts={self.prompts!r}. Use predict(frame), or fit again."
            )
        return self.context_

    def _needs_frame(self) -> str | None:
        return super()._needs_frame() if self.timestamps is None else "timestamps"

    def _remember(self, panel: Panel) -> "AutoTimes":
        # After an update, what an earlier call did not keep is lost.
        kept = getattr(self, "keeps_history_", True)
        self.keeps_history_ = self.prompts is not None and kept
        if not self.keeps_history_:
            return super()._remember(panel)
        self.context_ = panel  # a prompt may begin anywhere
        return self

    def _prepare_windows(self, windows: Windows) -> Windows:
        pool = getattr(self, "prompt_pool_", None)
        if self.prompts is None and pool is None:
            return super()._prepare_windows(windows)
        check_parameters("AutoTimes", self, PROMPTS)  # they may be set after fit
        return prompted_windows(
            windows, pool, self.context_length, self.prompt_length, self.prompts or "nearest"
        )

    def _build(self) -> ForecastModule:
        check_parameters("AutoTimes", self, CONSTRAINTS)
        if self.init == "ridge" and len(self.hidden):
            raise ValueError(
                "init must be 'random' with hidden layers, which ridge regression can't fit; "
                f"got {self.init!r}. Set hidden=(), or leave it out."
            )
        backbone = load_backbone(self._options(), seed=self.seed_)
        self._check_backbone(backbone.fingerprint)
        self.backbone_ = vars(backbone.fingerprint).copy()
        levels = tuple(float(level) for level in self.quantile_levels)
        return AutoTimesModule(
            backbone,
            self.context_length,
            self.segment_length,
            head=Head(self.loss, levels if self.loss == "quantile" else ()),
            hidden=tuple(self.hidden),
            dropout=self.dropout,
            timestamps=timestamp_embedding(
                self.timestamps,
                self.frequency_,
                self.segment_length,
                self._options(),
                self.seed_,
                backbone,
            ),
            init=self.init,
        )

    def _options(self) -> BackboneOptions:
        return BackboneOptions(
            self.backbone,
            depth=self.depth,
            width=self.width,
            init=self.backbone_init,
            lora=self.lora,
            gradient_checkpointing=self.gradient_checkpointing,
            precision=resolve_precision(self.precision, resolve_device(self.device)),
        )

    def _check_backbone(self, found: Fingerprint) -> None:
        """Check that the backbone is the one of the fit: the trained weights suit no other."""
        fitted = getattr(self, "backbone_", None)
        if fitted is not None and fitted["digest"] != found.digest:
            raise IncompatibleModelError(
                f"backbone must be the {fitted['name']!r} that the model was fitted with, of "
                f"digest {fitted['digest'][:12]}; got {found.name!r} of {found.digest[:12]}. "
                "Install the one that was used, or fit again."
            )
