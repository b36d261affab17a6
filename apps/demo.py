"""Open a page on which trained models answer: text, translations, captions, videos."""

from __future__ import annotations

from ..errors import UsageError
from .shell.models import any_model, model_file


def demo(
    *checkpoints: str,
    host: str = "127.0.0.1",
    port: int = 7860,
    queue: int = 16,
    device: str = "cpu",
    trust: str = "",
) -> None:
    """Serve a page with a tab for each trained model, until Ctrl-C.

    A language model writes on as you type and shows how likely each character was, a translation
    shows what each word looked at, a caption where, and a video gets its labels as it is read. The
    page needs no network and tells nobody of its use. It needs Gradio: pip install -e
    '.[demo]'.

    Args:
        *checkpoints: Checkpoints, folders of runs, or exported folders (ONNX), of any tasks.
        host: The address to listen at; 0.0.0.0 lets other machines in, see docs/demo.md.
        port: The port to listen at.
        queue: How many requests may wait at most; who comes then is told to try again.
        device: Where to run the models, for instance cpu or cuda.
        trust: Packages of your own, with commas in between, whose classes a checkpoint may name.
    """
    if not 1 <= port <= 65535:
        raise UsageError(f"--port {port}: must be from 1 to 65535.")
    if queue < 1:
        raise UsageError(f"--queue {queue}: must be at least 1.")
    files = [model_file(given) for given in checkpoints]

    from .demos.serving import check_gradio, check_port, serve

    check_gradio()  # before torch is imported
    check_port(host, port)
    models = [any_model(file, device=device, trust=trust) for file in files]
    serve(list(zip(map(str, files), models, strict=True)), host=host, port=port, queue=queue)
