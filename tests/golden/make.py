"""Makes golden.json: what PyTorch says to the inputs that tests/maths/golden.rs gives to Imprint.

    pip install torch==2.11.0 numpy && python tests/golden/make.py > tests/golden/golden.json

Everything is written as a person would write it in PyTorch: one task at a time, no padding, no masks, class scores as
negative squared distances, ridge regression by its textbook formula. It is computed in double precision, so that the
tests' tolerance is for Imprint's single precision alone.
"""

import json
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
# With this seed no maximum is so close that rounding decides it.
rng = torch.Generator().manual_seed(7)
EPS = 1e-5


def normal(*shape, scale=1.0):
    return (torch.randn(*shape, generator=rng) * scale).round(decimals=2)


def positive(*shape):
    return (torch.rand(*shape, generator=rng) + 0.5).round(decimals=2)


def plain(value):
    if isinstance(value, torch.Tensor):
        kind = int if value.dtype == torch.int64 else float
        flat = value.detach().reshape(-1).tolist()
        return {"shape": list(value.shape), "values": [kind(f"{x:.8g}") if kind is float else x for x in flat]}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


# Layers and losses: two tasks, one at a time, with parameters that they share and with parameters of their own.


def each(layer, x, *params):
    """`layer` for each task t, with params[t] where a parameter has a leading task dimension."""
    return torch.stack([layer(x[t], *(p[t] if own else p for p, own in params)) for t in range(len(x))])


def conv(x, weight, bias):
    return F.conv2d(x, weight, bias, padding=1)


def layers():
    cases = {}
    x, images = normal(2, 3, 4), normal(2, 3, 2, 5, 7)
    for own in (False, True):
        lead = (2,) if own else ()
        weight, bias = normal(*lead, 5, 4), normal(*lead, 5)
        out = each(F.linear, x, (weight, own), (bias, own))
        cases["linear_own" if own else "linear"] = {"x": x, "layer": {"weight": weight, "bias": bias}, "out": out}
        weight, bias = normal(*lead, 3, 2, 3, 3), normal(*lead, 3)
        out = each(conv, images, (weight, own), (bias, own))
        cases["conv3x3_own" if own else "conv3x3"] = {"x": images, "layer": {"weight": weight, "bias": bias}, "out": out}
    cases["max_pool2"] = {"x": images, "out": each(lambda x: F.max_pool2d(x, 2), images)}

    weight, bias, mean, var = positive(2), normal(2), normal(2), positive(2)
    layer, stats = {"weight": weight, "bias": bias}, {"norm.mean": mean, "norm.var": var}
    fixed = each(lambda x: F.batch_norm(x, mean, var, weight, bias, False, eps=EPS), images)
    per_task = each(lambda x: F.batch_norm(x, None, None, weight, bias, True, eps=EPS), images)
    batch = F.batch_norm(images.flatten(0, 1), None, None, weight, bias, True, eps=EPS).reshape(images.shape)
    cases["norm"] = {"x": images, "layer": layer, "stats": stats, "fixed": fixed, "per_task": per_task, "batch": batch}

    logits, labels = normal(2, 4, 3, scale=3.0), torch.tensor([[0, 2, 1, 1], [2, 2, 0, 1]])
    values, targets = normal(2, 4, 1), normal(2, 4, 1)
    cases["losses"] = {
        "logits": logits,
        "labels": labels,
        "cross_entropy": torch.stack([F.cross_entropy(logits[t], labels[t]) for t in range(2)]),
        "values": values,
        "targets": targets,
        "squared_error": torch.stack([F.mse_loss(values[t], targets[t]) for t in range(2)]),
    }
    return cases


def adam():
    start, grads = normal(2, 3), [normal(2, 3) for _ in range(5)]
    p = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([p], lr=0.01)
    steps = []
    for grad in grads:
        p.grad = grad.clone()
        optimizer.step()
        steps.append(p.detach().clone())
    return {"start": start, "grads": grads, "lr": 0.01, "steps": steps}


# Networks.


def mlp(params, x, _norm):
    for layer in range(2):
        x = F.relu(F.linear(x, params[f"backbone.fc{layer}.weight"], params[f"backbone.fc{layer}.bias"]))
    return x


def conv4(params, x, norm):
    for block in range(4):
        x = conv(x, params[f"backbone.conv{block}.weight"], params[f"backbone.conv{block}.bias"])
        mean, var = norm(block, x)
        weight, bias = params[f"backbone.norm{block}.weight"], params[f"backbone.norm{block}.bias"]
        shape = (1, -1, 1, 1)
        x = (x - mean.view(shape)) / (var.view(shape) + EPS).sqrt() * weight.view(shape) + bias.view(shape)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1)


def own_statistics(_block, x):
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)


class Remembered:
    """The statistics of one batch, kept for another."""

    def __init__(self):
        self.by_block = {}

    def take(self, block, x):
        self.by_block[block] = own_statistics(block, x)
        return self.by_block[block]

    def give(self, block, _x):
        return self.by_block[block]


def running(theta):
    return lambda block, _x: (theta[f"stats.norm{block}.mean"], theta[f"stats.norm{block}.var"])


def mlp_theta():
    theta = {}
    for layer, (inputs, outputs) in enumerate([(3, 6), (6, 5)]):
        theta[f"backbone.fc{layer}.weight"] = normal(outputs, inputs, scale=0.8)
        theta[f"backbone.fc{layer}.bias"] = normal(outputs, scale=0.1)
    return theta


def conv4_theta(statistics):
    theta = {}
    for block in range(4):
        theta[f"backbone.conv{block}.weight"] = normal(3, 1 if block == 0 else 3, 3, 3, scale=0.5)
        theta[f"backbone.conv{block}.bias"] = normal(3, scale=0.1)
        theta[f"backbone.norm{block}.weight"] = positive(3)
        theta[f"backbone.norm{block}.bias"] = normal(3, scale=0.2)
        if statistics:
            theta[f"stats.norm{block}.mean"] = normal(3, scale=0.2)
            theta[f"stats.norm{block}.var"] = positive(3)
    return theta


# Learners.


def episode(shape, shots, queries):
    centres = normal(len(shots), *shape)

    def draw(counts):
        labels = torch.tensor([c for c, count in enumerate(counts) for _ in range(count)])
        return (centres[labels] + normal(len(labels), *shape, scale=0.5)).round(decimals=2), labels

    (support, support_labels), (query, query_labels) = draw(shots), draw([queries] * len(shots))
    return {
        "support": support,
        "support_labels": support_labels,
        "query": query,
        "query_labels": query_labels,
        "way": len(shots),
    }


def prototypes(features, labels, way):
    return torch.stack([features[labels == c].mean(0) for c in range(way)])


def class_head(kind, theta, way, features, labels):
    if kind == "prototype":
        centres = prototypes(features, labels, way)
        return 2 * centres, -centres.square().sum(1)
    weight, bias = theta["head.weight"], theta["head.bias"]
    return (weight, bias) if kind == "learned" else (weight.expand(way, -1), bias.expand(way))


def maml(net, theta, task, steps, alpha, order, head):
    """The query's scores after the inner loop."""
    features = net(theta, task["support"], own_statistics) if head == "prototype" else None
    weight, bias = class_head(head, theta, task["way"], features, task["support_labels"])
    # Copies: the inner gradient sees a head that is made of features as a variable of its own.
    fast = {name: tensor.clone() for name, tensor in theta.items() if name.startswith("backbone.")}
    fast |= {"head.weight": weight, "head.bias": bias}
    for _ in range(steps):
        logits = F.linear(net(fast, task["support"], own_statistics), fast["head.weight"], fast["head.bias"])
        loss = F.cross_entropy(logits, task["support_labels"])
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=order == "second", retain_graph=True)
        fast = {name: tensor - alpha * grad for (name, tensor), grad in zip(fast.items(), grads)}
    statistics = Remembered()
    net(fast, task["support"], statistics.take)
    return F.linear(net(fast, task["query"], statistics.give), fast["head.weight"], fast["head.bias"])


def protonet(theta, support, query, task):
    centres = prototypes(support, task["support_labels"], task["way"])
    distances = (query[:, None, :] - centres[None]).square().sum(-1)
    # Imprint leaves out what is the same for all classes.
    return -distances + query.square().sum(1, keepdim=True)


def r2d2(theta, support, query, task):
    ones = lambda z: torch.cat([z, torch.ones(len(z), 1)], 1)
    x, y = ones(support), F.one_hot(task["support_labels"], task["way"]).double()
    lam, scale = theta["head.log_lambda"].exp(), theta["head.log_scale"].exp()
    weights = torch.linalg.solve(x.T @ x + lam * torch.eye(x.shape[1]), x.T @ y)
    return scale * (ones(query) @ weights) + theta["head.offset"]


def closed_form(net, theta, tasks, head, norm):
    """Scores by a head on features; `norm` says how a part ("support", "query") of all tasks together is normalised."""
    parts = []
    for part in ("support", "query"):
        features = net(theta, torch.cat([task[part] for task in tasks]), norm)
        parts.append(features.split([len(task[part]) for task in tasks]))
    return [head(theta, support, query, task) for support, query, task in zip(*parts, tasks)]


def outer_gradient(theta, tasks, train):
    """The mean of the tasks' mean query losses, and its gradient."""
    leaves = {name: tensor.clone().requires_grad_(not name.startswith("stats.")) for name, tensor in theta.items()}
    losses = [F.cross_entropy(out, task["query_labels"]) for out, task in zip(train(leaves), tasks)]
    loss = sum(losses) / len(losses)
    wanted = [name for name in leaves if not name.startswith("stats.")]
    grads = torch.autograd.grad(loss, [leaves[name] for name in wanted])
    return {"theta": theta, "tasks": tasks, "loss": loss, "grads": dict(zip(wanted, grads))}


def maml_case(backbone, net, shape, width, head, order, steps):
    theta = mlp_theta() if backbone == "mlp" else conv4_theta(statistics=False)
    if head != "prototype":
        outputs = 3 if head == "learned" else 1
        theta |= {"head.weight": normal(outputs, width, scale=0.5), "head.bias": normal(outputs, scale=0.1)}
    # A learned head has one way; the others do as they like.
    tasks = [episode(shape, [2, 1, 3], 2), episode(shape, [1, 2, 2] if head == "learned" else [2, 1], 2)]
    run = lambda theta: [maml(net, theta, task, steps, 0.1, order, head) for task in tasks]
    for tensor in theta.values():
        tensor.requires_grad_(True)
    learner = {"kind": "maml", "inner_steps": steps, "inner_lr": 0.1, "order": order, "head_init": {"kind": head}}
    if head == "learned":
        learner["head_init"]["way"] = 3
    return {"learner": learner, "backbone": backbone, "outputs": run(theta)} | outer_gradient(theta, tasks, run)


def closed_form_case(backbone, net, shape, kind, head, shots):
    theta = mlp_theta() if backbone == "mlp" else conv4_theta(statistics=True)
    if kind == "r2d2":
        theta |= {name: normal(1, scale=0.5) for name in ("head.log_lambda", "head.log_scale", "head.offset")}
    tasks = [episode(shape, shots, 2), episode(shape, [1, 2], 3)]
    return {
        "learner": {"kind": kind},
        "backbone": backbone,
        "outputs": closed_form(net, theta, tasks, head, running(theta)),
    } | outer_gradient(theta, tasks, lambda theta: closed_form(net, theta, tasks, head, own_statistics))


def learners():
    cases = []
    settings = [("learned", "second", 2), ("shared", "second", 3), ("prototype", "second", 3), ("shared", "first", 3)]
    for backbone, net, shape, width in [("mlp", mlp, (3,), 5), ("conv4", conv4, (1, 16, 16), 3)]:
        cases += [maml_case(backbone, net, shape, width, *setting) for setting in settings]
        for kind, head in [("protonet", protonet), ("r2d2", r2d2)]:
            # Fewer support rows than features, and more.
            cases += [closed_form_case(backbone, net, shape, kind, head, shots) for shots in ([1, 1, 1], [3, 2, 4])]
    return cases


golden = {"torch": torch.__version__.split("+")[0], "layers": layers(), "adam": adam(), "learners": learners()}
json.dump(plain(golden), sys.stdout, separators=(",", ":"))
sys.stdout.write("\n")
