"""`ponet export`: a trained model as a folder that runs without torch."""

from pathlib import Path
from typing import Annotated

import typer

from ponet.cli.errors import handle_errors, say


@handle_errors
def export(
    source: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, a saved model, a bundled checkpoint, or a hub name.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = ...,  # type: ignore[assignment]
    output: Annotated[
        str | None,
        typer.Option(
            help="logits, the head's scores, or last_hidden_state, the encoder alone.  \\[default: logits, where there "
            "is a head]"
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize the linear maps: smaller, faster.")] = False,
    int8_embeddings: Annotated[
        bool, typer.Option("--int8-embeddings", help="Quantize the embeddings too: smaller still.")
    ] = False,
    token_types: Annotated[
        bool | None,
        typer.Option(
            "--token-types/--no-token-types",
            help="Whether token_type_ids are an input, for pairs of texts.  \\[default: as the run was trained]",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export that is there.")] = False,
) -> None:
    """Write an ONNX graph with its tokenizer, and a runner that needs neither torch nor ponet.

    model.onnx takes input_ids, attention_mask and segment_ids, int64 [batch, length] of any size. The graph is run
    once and compared with the model. For mixers pooling, attention and fourier.

    Examples:

      ponet export runs/reviews --out reviews-onnx

      ponet export runs/reviews --out reviews-int8 --int8

      ponet export ponet-tiny --output last_hidden_state --out encoder
    """
    from ponet.onnx.export import export_onnx

    facts = export_onnx(
        source,
        out,
        output,
        int8,
        int8_embeddings,
        token_types,
        overwrite,
        notice=lambda text: say(text, err=True),
    )
    say(
        f"{out}: {facts['class']}, {facts['output']} {facts['output_shape']}, {facts['weights']}, "
        f"{facts['bytes'] / 1e6:,.1f} MB; {facts['usual']:.2g} off the model (root mean "
        f"square), {facts['largest']:.2g} at most, of outputs up to {facts['scale']:.2g}."
    )
