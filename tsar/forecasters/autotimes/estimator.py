"""AutoTimes: a frozen language model that forecasts segment by segment."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tsar.data.calendar import FEATURES, calendar_features, timestamp_texts
from tsar.data.panel import Columns
from tsar.forecasters.autotimes.backbone import (
    BackboneOptions,
    Identity,
    embed_texts,
    load_backbone,
)
from tsar.forecasters.autotimes.heads import Head, Loss
from tsar.forecasters.autotimes.module import AutoTimesModule, Initial
from tsar.forecasters.autotimes.timestamps import Stamps
from tsar.forecasters.neural import GENERATION, NeuralForecaster
from tsar.forecasters.summary import fact_table
from tsar.nn.module import ForecastModule
from tsar.runtime.devices import resolve_device
from tsar.training import Training
from tsar.validation import (
    BOOLEAN,
    FRACTION,
    QUANTILE_LEVELS,
    Constraint,
    IncompatibleModelError,
    check_parameters,
    integer,
    one_of,
    optional,
)

Precision = Literal["auto", "float32", "bfloat16"]


class AutoTimes(NeuralForecaster):
    """A frozen decoder-only language model reads segments of a series and forecasts the next one.

    What is trained are the maps between segments and the model's tokens. One fitted model forecasts
    any horizon, from contexts of any length, of series that it never saw.

    Parameters
    ----------
    context_length
        Points that a forecast sees.
    horizon
        Points to forecast; those that training looks ahead, and that intervals are calibrated for.
        A forecast may go further.
    segment_length
        Points of a token. A season, or a part of one.
    backbone
        ``"smollm2"`` (SmolLM2-135M, with the llm extra), a folder or a name on the Hugging Face
        hub of any decoder-only model, or None: a small transformer that is trained from scratch.
    layers
        Blocks of the backbone that are used, the first ones; None: all, or 3 from scratch. More of
        a language model cost time; on ETTh1 6 forecast no better than 2.
    backbone_init
        ``"pretrained"``, or ``"random"``: frozen random weights, as a control.
    lora
        Rank of LoRA adapters, trained besides; None: none.
    width
        Of a backbone from scratch.
    hidden
        Width of a hidden layer between segments and tokens; 0: both maps are linear.
    dropout
        Share of each hidden state that is left out at random in training.
    timestamps
        What tokens are told of their time: ``"text"`` (what the backbone makes of a sentence that
        names it), ``"calendar"`` (sines and cosines of it), or None.
    loss
        ``"mse"``, ``"mae"``, ``"quantile"``, or a density: ``"gaussian"``, ``"student_t"``.
        Quantiles are forecast for one segment; a density has them at any horizon, by sample paths.
    quantile_levels
        Levels that ``loss="quantile"`` fits, 0.5 among them.
    initial
        ``"random"``: the projection begins with random weights. ``"ridge"``: with those that ridge
        regression fits to the outputs of the backbone. With ``hidden=0`` only.
    generation
        How a forecast goes beyond a segment. ``"exact"``: the newest points are read anew for each
        segment, as the paper does. ``"cached"``: what was read is kept, so that the context grows:
        faster by the number of segments. ``"speculative"``: as cached, with several segments at
        once that a linear autoregression proposes; the backbone checks them. Sample paths, and the
        quantiles that are made of them, go on as with ``"cached"``.
    tolerance
        Proposals are kept as long as they differ from the backbone's forecast by at most that, as a
        root mean square in deviations of the context; 0: the forecast is that of ``"cached"``.
    ahead
        Segments that are proposed at once.
    prompt_length
        Points of a prompt; see `predict`.
    gradient_checkpointing
        Whether training computes the blocks again on the way back instead of keeping what they
        made: for many blocks of a large model. The result is the same.
    precision
        Of the frozen weights; ``"auto"``: bfloat16 where the device is fast at it.
    training
        How to train; None for `AutoTimes.recipe`.
    columns
        How to read frames.
    batch_size
        Most contexts that are forecast at once, fewer where memory is short: changes no result.
    device, random_state, verbose
        ``"auto"``, ``"cpu"``, ...; seed of the weights and of the windows' order; above 0: a bar.

    Attributes
    ----------
    module_
        The trained module.
    history_
        Training and validation loss of each epoch.
    backbone_
        Name and digest of the backbone, which is not saved with the model.
    calibration_
        Errors on the points held back, from which intervals are made.

    References
    ----------
    Liu, Qin, Huang, Wang & Long 2024, "AutoTimes: Autoregressive Time Series Forecasters via Large
    Language Models" (arXiv 2402.02370).

    Examples
    --------
    >>> import numpy as np
    >>> from tsar import AutoTimes
    >>> wave = np.sin(np.arange(300) * 2 * np.pi / 12)
    >>> model = AutoTimes(48, segment_length=12, backbone=None, layers=1, width=32, random_state=0)
    >>> model.fit(wave).predict(horizon=30).shape
    (30,)
    """

    uses: ClassVar[frozenset[str]] = frozenset({"prompts"})
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
        layers: int | None = 2,
        backbone_init: Literal["pretrained", "random"] = "pretrained",
        lora: int | None = None,
        width: int = 128,
        hidden: int = 0,
        dropout: float = 0.1,
        timestamps: Literal["text", "calendar"] | None = None,
        loss: Loss = "mse",
        quantile_levels: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 0.9),
        initial: Initial = "random",
        generation: Literal["exact", "cached", "speculative"] = "exact",
        tolerance: float = 0.1,
        ahead: int = 4,
        prompt_length: int | None = None,
        gradient_checkpointing: bool = False,
        precision: Precision = "auto",
        training: Training | None = None,
        columns: Columns | None = None,
        batch_size: int = 256,
        device: str = "auto",
        random_state: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self.segment_length = segment_length
        self.backbone = backbone
        self.layers = layers
        self.backbone_init = backbone_init
        self.lora = lora
        self.width = width
        self.hidden = hidden
        self.dropout = dropout
        self.timestamps = timestamps
        self.loss = loss
        self.quantile_levels = quantile_levels
        self.initial = initial
        self.generation = generation
        self.tolerance = tolerance
        self.ahead = ahead
        self.prompt_length = prompt_length
        self.gradient_checkpointing = gradient_checkpointing
        self.precision = precision
        self.training = training
        self.columns = columns
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def summary(self) -> str:
        """Sizes of the model as a table: what is trained of it, and what is frozen."""
        check_is_fitted(self, "module_")
        parameters = list(self.module_.parameters())
        total = sum(p.numel() for p in parameters)
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        facts = [
            ("backbone", str(self.backbone_["name"]) or "from scratch"),
            ("digest", str(self.backbone_["digest"])[:12]),
            ("segment", f"{self.module_.horizon} points"),
            ("context", f"{self.context_length} points"),
            ("trained parameters", f"{trained:,}"),
            ("all parameters", f"{total:,}"),
            ("share trained", f"{trained / total:.2%}"),
            ("epochs", str(len(self.history_) - 1)),
        ]
        return fact_table("AutoTimes", facts)

    def _build(self) -> ForecastModule:
        check_parameters("AutoTimes", self, CONSTRAINTS)
        if self.initial == "ridge" and self.hidden:
            raise ValueError(
                "initial must be 'random' with a hidden layer, which ridge regression does not "
                f"fit; got {self.initial!r}. Set hidden=0, or leave it out."
            )
        backbone = load_backbone(self._options(), seed=self.seed_)
        self._check_same(backbone.identity)
        self.backbone_ = {"name": backbone.identity.name, "digest": backbone.identity.digest}
        # What was learned of a calendar is of one frequency.
        self.zero_shot_ = self.timestamps is None
        self.reads_times_ = not self.zero_shot_
        levels = tuple(float(level) for level in self.quantile_levels)
        return AutoTimesModule(
            backbone,
            self.context_length,
            self.segment_length,
            head=Head(self.loss, levels if self.loss == "quantile" else ()),
            hidden=self.hidden,
            dropout=self.dropout,
            stamps=self._stamps(backbone.width, backbone.token_norm),
            initial=self.initial,
        )

    def _options(self) -> BackboneOptions:
        return BackboneOptions(
            self.backbone,
            layers=self.layers,
            width=self.width,
            init=self.backbone_init,
            lora=self.lora,
            gradient_checkpointing=self.gradient_checkpointing,
            precision=resolve_precision(self.precision, resolve_device(self.device)),
        )

    def _check_same(self, found: Identity) -> None:
        """Refuse another backbone than that of the fit: what was trained fits no other."""
        known = getattr(self, "backbone_", None)
        if known is not None and known["digest"] != found.digest:
            raise IncompatibleModelError(
                f"backbone must be the {known['name']!r} that the model was fitted with, of digest "
                f"{known['digest'][:12]}; got {found.name!r} of {found.digest[:12]}. Install the "
                "one that was used, or fit again."
            )

    def _stamps(self, width: int, token_norm: float) -> Stamps | None:
        frequency = self.frequency_
        if self.timestamps is None:
            return None
        if frequency.kind == "integer":
            raise ValueError(
                "timestamps must be None with integer times, which have no calendar; got "
                f"{self.timestamps!r}. Give dates, or leave it out."
            )
        # Partials, which can be pickled.
        if self.timestamps == "calendar":
            return Stamps(partial(calendar_features, frequency), FEATURES, width, linear=True)
        texts = partial(timestamp_texts, frequency, points=self.segment_length)
        read = partial(_read_texts, texts, self._options(), self.seed_, token_norm)
        return Stamps(read, width, width, linear=False)


def _read_texts(
    texts: Callable[[NDArray[np.int64]], list[str]],
    options: BackboneOptions,
    seed: int,
    token_norm: float,
    ordinals: Int[Tensor, " time"],
) -> Float[Tensor, "time feature"]:
    """What a backbone makes of sentences that name times, as long as its tokens."""
    vectors = embed_texts(options, texts(ordinals.numpy()), seed=seed)
    return torch.nn.functional.normalize(vectors, dim=1) * token_norm


def resolve_precision(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """The precision by its name; ``"auto"``: bfloat16 where the device computes with it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # Older ones of torch do not say what the processor can do.
    known: dict[str, object] = (
        getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    )
    return "bfloat16" if known.get("amx_bf16") or known.get("avx512_bf16") else "float32"


CONSTRAINTS: dict[str, Constraint] = {
    "segment_length": integer(1),
    "hidden": integer(0),
    "dropout": FRACTION,
    "timestamps": one_of(("text", "calendar", None)),
    "loss": one_of(("mse", "mae", "quantile", "gaussian", "student_t")),
    "quantile_levels": QUANTILE_LEVELS,
    "initial": one_of(("random", "ridge")),
    **GENERATION,
    "prompt_length": optional(integer(2)),
    "gradient_checkpointing": BOOLEAN,
    "precision": one_of(("auto", "float32", "bfloat16")),
}
