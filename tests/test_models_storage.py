"""Weights as graphs hold them: fewer bits, the names and the results they had."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime as ort  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from nacre.models.export import trace  # noqa: E402
from nacre.models.storage import compact, initializers  # noqa: E402


class Branch(torch.nn.Module):
    """A residual branch and a linear layer, with a row of zeros and one of tiny numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = torch.nn.Conv2d(16, 32, 1)
        self.project = torch.nn.Conv2d(32, 16, 1)
        self.head = torch.nn.Conv2d(16, 12, 1)
        with torch.no_grad():
            self.expand.weight[3] = 0
            self.expand.weight[4] *= 1e-6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.project(torch.relu(self.expand(x))))


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    torch.manual_seed(1)
    with torch.no_grad():
        return compact(trace(Branch().eval(), (torch.zeros(1, 16, 4, 4),), ("x",), ("y",), {"x": {2: "h", 3: "w"}}))


def test_types(graph: onnx.ModelProto) -> None:
    types = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in graph.graph.initializer}
    assert {name: types[f"{name}.weight"] for name in ("expand", "project", "head")} == {
        "expand": np.int8,
        "project": np.int8,
        "head": np.float16,
    }
    assert types["head.bias"] == np.float32


def test_numbers_are_read_back_within_half_a_step(graph: onnx.ModelProto) -> None:
    torch.manual_seed(1)
    module = Branch()
    read = initializers(graph)
    for name, parameter in module.named_parameters():
        expected, found = parameter.detach().numpy(), read[name]
        reach = np.abs(expected.reshape(len(expected), -1)).max(1).reshape(-1, *[1] * (expected.ndim - 1))
        step = reach / 127 if name in ("expand.weight", "project.weight") else reach / 512
        assert np.all(np.abs(found - expected) <= 0.501 * step), name
    assert not read["expand.weight"][3].any()
    assert read["expand.weight"][4].any()


def test_the_runtime_computes_with_what_is_read_back(graph: onnx.ModelProto) -> None:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(2).normal(size=(1, 16, 5, 7)).astype(np.float32)
    module = Branch()
    module.load_state_dict({name: torch.from_numpy(initializers(graph)[name]) for name in module.state_dict()})
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], expected, atol=1e-5)
