"""Makes golden.json: what PyTorch says to the inputs that tests/maths/golden.rs gives to Imprint.

    pip install torch==2.11.0 numpy && python tests/golden/make.py > tests/golden/golden.json

Everything is written as a person would write it in PyTorch: one task at a time, no padding, no masks, class scores as
negative squared distances, ridge regression by its textbook formula. It is computed in double precision, so that the
tests' tolerance is for Imprint's single precision alone.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
# With this seed no maximum is so close that rounding decides it.
rng = torch.Generator().manual_seed(9)
EPS = 1e-5
ALPHA, STEPS = 0.1, 3


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


def conv4_theta():
    theta = {}
    for block in range(4):
        theta[f"backbone.conv{block}.weight"] = normal(3, 1 if block == 0 else 3, 3, 3, scale=0.5)
        theta[f"backbone.conv{block}.bias"] = normal(3, scale=0.1)
        theta[f"backbone.norm{block}.weight"] = positive(3)
        theta[f"backbone.norm{block}.bias"] = normal(3, scale=0.2)
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


def query_outputs(net, theta, fast, task):
    """The query's scores by fast weights, normalised as the support set is under them."""
    params, statistics = theta | fast, Remembered()
    net(params, task["support"], statistics.take)
    return F.linear(net(params, task["query"], statistics.give), params["head.weight"], params["head.bias"])


def trajectory(net, theta, task, steps, order, head, update):
    """The query's scores after each inner step; `update(k, fast, grads)` is one."""
    features = net(theta, task["support"], own_statistics) if head == "prototype" else None
    weight, bias = class_head(head, theta, task["way"], features, task["support_labels"])
    # Copies: the inner gradient sees a head that is made of features as a variable of its own.
    fast = {name: tensor.clone() for name, tensor in theta.items() if name.startswith("backbone.")}
    fast |= {"head.weight": weight, "head.bias": bias}
    outputs = []
    for k in range(steps):
        logits = F.linear(net(fast, task["support"], own_statistics), fast["head.weight"], fast["head.bias"])
        loss = F.cross_entropy(logits, task["support_labels"])
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=order == "second", retain_graph=True)
        fast = update(k, fast, dict(zip(fast, grads)))
        outputs.append(query_outputs(net, theta, fast, task))
    return outputs


def maml_update(_theta):
    return lambda _k, fast, grads: {name: tensor - ALPHA * grads[name] for name, tensor in fast.items()}


def meta_sgd_update(theta):
    return lambda _k, fast, grads: {name: tensor - theta["rate." + name] * grads[name] for name, tensor in fast.items()}


def maml_plus_plus_update(theta):
    return lambda k, fast, grads: {name: tensor - theta["rate." + name][k] * grads[name] for name, tensor in fast.items()}


def learned_update(theta):
    """Two LSTM cells on each coordinate."""
    cells = []
    for layer in range(2):
        part = lambda name: theta[f"optimizer.lstm{layer}.{name}"]
        cells.append((part("weight_ih"), part("weight_hh"), part("bias"), torch.zeros(len(part("bias")))))
    state = {}

    def update(_k, fast, grads):
        moved = {}
        for name, tensor in fast.items():
            g = grads[name].detach().reshape(-1, 1)
            large = g.abs() >= math.exp(-10)
            x = torch.cat(
                [
                    torch.where(large, g.abs().clamp_min(1e-30).log() / 10, torch.tensor(-1.0)),
                    torch.where(large, g.sign(), g * math.exp(10)),
                ],
                1,
            )
            for layer, cell in enumerate(cells):
                hidden = cell[1].shape[1]
                before = state.get((name, layer), (torch.zeros(len(x), hidden), torch.zeros(len(x), hidden)))
                after = torch.lstm_cell(x, before, cell[0], cell[1], cell[2], cell[3])
                state[name, layer] = after
                x = after[0]
            moved[name] = tensor + 0.1 * (x @ theta["optimizer.out.weight"].T).reshape(tensor.shape)
        return moved

    return update


def anil(theta, support, query, task):
    weight, bias = class_head("shared", theta, task["way"], support, task["support_labels"])
    for _ in range(STEPS):
        loss = F.cross_entropy(F.linear(support, weight, bias), task["support_labels"])
        grads = torch.autograd.grad(loss, [weight, bias], create_graph=True)
        weight, bias = weight - ALPHA * grads[0], bias - ALPHA * grads[1]
    return F.linear(query, weight, bias)


def cavia(net, theta, task):
    contexts = next(tensor.shape[1] for name, tensor in theta.items() if name.startswith("context."))
    phi = torch.zeros(contexts, requires_grad=True)

    def modulated(phi):
        maps = {name.removeprefix("context."): c for name, c in theta.items() if name.startswith("context.")}
        return {"backbone." + name: theta["backbone." + name] + c @ phi for name, c in maps.items()}

    for _ in range(STEPS):
        params = theta | modulated(phi)
        logits = F.linear(net(params, task["support"], own_statistics), params["head.weight"], params["head.bias"])
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, task["support_labels"]), [phi], create_graph=True)
        phi = phi - ALPHA * grad
    return query_outputs(net, theta, modulated(phi), task)


def reptile_gradient(net, theta, tasks):
    """(θ − θ_K) / α, a mean over tasks and over the copies of a shared head, and the loss after plain adaptation."""
    sums, counts, losses = {}, {}, []
    for task in tasks:
        turns = [(task["support"], task["support_labels"]), (task["query"], task["query_labels"])]
        fast = {name: tensor for name, tensor in theta.items() if name.startswith("backbone.")}
        fast |= {"head.weight": theta["head.weight"].expand(task["way"], -1), "head.bias": theta["head.bias"].expand(task["way"])}
        for k in range(STEPS):
            rows, labels = turns[k % 2]
            fast = {name: tensor.detach().requires_grad_(True) for name, tensor in fast.items()}
            logits = F.linear(net(fast, rows, own_statistics), fast["head.weight"], fast["head.bias"])
            grads = torch.autograd.grad(F.cross_entropy(logits, labels), list(fast.values()))
            fast = {name: tensor - ALPHA * grad for (name, tensor), grad in zip(fast.items(), grads)}
        for name, tensor in fast.items():
            copies = tensor if name.startswith("head.") else tensor[None]
            sums[name] = sums.get(name, 0) + copies.sum(0, keepdim=name.startswith("head."))
            counts[name] = counts.get(name, 0) + len(copies)
        outputs = trajectory(net, theta, task, STEPS, "first", "shared", maml_update(theta))[-1]
        losses.append(F.cross_entropy(outputs, task["query_labels"]))
    grads = {name: (theta[name] - sums[name] / counts[name]) / ALPHA for name in theta}
    return {"theta": theta, "tasks": tasks, "loss": sum(losses) / len(losses), "grads": grads}


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


KNOWN = ["one", "two", "three"]


def known_ridge(theta, support, query, task):
    """The minimum of ‖X W − Y‖² + λ ‖W − W₀‖², with a column of zeros in W₀ for a class that is not known."""
    ones = lambda z: torch.cat([z, torch.ones(len(z), 1)], 1)
    x, y = ones(support), F.one_hot(task["support_labels"], task["way"]).double()
    lam, known = theta["head.log_lambda"].exp(), torch.cat([theta["head.weight"].T, theta["head.bias"][None]])
    known = torch.cat([known, torch.zeros(len(known), 1)], 1)
    known = known[:, [KNOWN.index(label) if label in KNOWN else -1 for label in task["labels"]]]
    weights = torch.linalg.solve(x.T @ x + lam * torch.eye(x.shape[1]), x.T @ y + lam * known)
    return theta["head.log_scale"].exp() * (ones(query) @ weights)


def logistic(net, theta, task):
    """The most probable weights under the prior, by as many accelerated steps."""
    support, query, names = (net(theta, task[part], None) for part in ("support", "query", "names"))
    way, labels = task["way"], F.one_hot(task["support_labels"], task["way"]).double()
    sums = labels.T @ support
    cosines = F.normalize(names, dim=1) @ F.normalize(sums, dim=1).T
    margin = cosines.trace() / way - (cosines.sum() - cosines.trace()) / (way * (way - 1))
    trust = torch.sigmoid(theta["head.name_slope"] * (margin - theta["head.name_floor"]))
    sums = sums + theta["head.log_name"].exp() * trust * names
    prior = theta["head.log_scale"].exp() * F.normalize(sums, dim=1)
    lam = theta["head.log_lambda"].exp()
    with torch.no_grad():
        steepest = 0.5 * (support @ support.T).norm() + lam
        root = (lam / steepest).sqrt()
    weight = ahead = prior
    for _ in range(8):
        slope = (torch.softmax(support @ ahead.T, 1) - labels).T @ support + lam * (ahead - prior)
        step = ahead - slope / steepest
        weight, ahead = step, step + (1 - root) / (1 + root) * (step - weight)
    return query @ weight.T


def logistic_case():
    net, shape, _, theta = network("mlp")
    start = {"log_scale": 1.5, "log_lambda": -1.0, "log_name": 0.2, "name_slope": 3.0, "name_floor": 0.1}
    theta |= {f"head.{name}": torch.tensor([value]) for name, value in start.items()}
    tasks = [episode(shape, shots, 2) for shots in ([2, 1, 3], [1, 2])]
    for task in tasks:
        task["names"] = normal(task["way"], *shape)
    run = lambda theta: [logistic(net, theta, task) for task in tasks]
    case = {"learner": {"kind": "logistic", "steps": 8}, "backbone": "mlp", "outputs": run(theta)}
    return case | outer_gradient(theta, tasks, lambda theta: [[(1.0, out)] for out in run(theta)])


def closed_form(net, theta, tasks, head, norm):
    """Scores by a head on features; `norm` says how a part ("support", "query") of all tasks together is normalised."""
    parts = []
    for part in ("support", "query"):
        features = net(theta, torch.cat([task[part] for task in tasks]), norm)
        parts.append(features.split([len(task[part]) for task in tasks]))
    return [head(theta, support, query, task) for support, query, task in zip(*parts, tasks)]


def outer_gradient(theta, tasks, train):
    """The mean of the tasks' losses, and its gradient; `train` gives the (weighted) query scores of each task."""
    leaves = {name: tensor.detach().clone().requires_grad_(not name.startswith("stats.")) for name, tensor in theta.items()}
    losses = []
    for task, weighted in zip(tasks, train(leaves)):
        losses.append(sum(weight * F.cross_entropy(out, task["query_labels"]) for weight, out in weighted))
    loss = sum(losses) / len(losses)
    wanted = [name for name in leaves if not name.startswith("stats.")]
    grads = torch.autograd.grad(loss, [leaves[name] for name in wanted])
    return {"theta": theta, "tasks": tasks, "loss": loss, "grads": dict(zip(wanted, grads))}


def network(backbone):
    """The function, the shape of a row, the width of its features, and θ."""
    return (mlp, (3,), 5, mlp_theta()) if backbone == "mlp" else (conv4, (1, 16, 16), 3, conv4_theta())


def head_theta(head, width):
    outputs = 3 if head == "learned" else 1
    return {} if head == "prototype" else {
        "head.weight": normal(outputs, width, scale=0.5),
        "head.bias": normal(outputs, scale=0.1),
    }


def two_tasks(shape, fixed_way):
    # A learned head has one way; the others do as they like.
    return [episode(shape, [2, 1, 3], 2), episode(shape, [1, 2, 2] if fixed_way else [2, 1], 2)]


def rates(theta, width, shape_of):
    shapes = {name: tensor.shape for name, tensor in theta.items() if name.startswith("backbone.")}
    shapes |= {"head.weight": (1, width), "head.bias": (1,)}
    return {"rate." + name: 0.1 * positive(*shape_of(shape)) for name, shape in shapes.items()}


def gradient_case(backbone, kind, head="shared", order="second", progress=1.0):
    net, shape, width, theta = network(backbone)
    theta |= head_theta(head, width)
    learner = {"kind": kind, "inner_steps": STEPS, "head_init": {"kind": head}}
    if head == "learned":
        learner["head_init"]["way"] = 3
    if kind in ("maml", "meta_sgd"):
        learner["order"] = order
    if kind != "learned_optimizer":
        learner["inner_lr"] = ALPHA
    last = [0.0] * (STEPS - 1) + [1.0]
    weights = last
    if kind == "meta_sgd":
        theta |= rates(theta, width, lambda shape: shape)
    if kind == "maml_plus_plus":
        theta |= rates(theta, width, lambda _: (STEPS,))
        learner |= {"multi_step": 0.5, "first_order": 0.1}
        order = "first" if progress < 0.1 else "second"
        equal = max(0.0, 1 - progress / 0.5) / STEPS
        weights = [equal] * (STEPS - 1) + [1 - equal * (STEPS - 1)]
    if kind == "learned_optimizer":
        hidden, order = 4, "first"
        learner["hidden"] = hidden
        for layer in range(2):
            theta[f"optimizer.lstm{layer}.weight_ih"] = normal(4 * hidden, 2 if layer == 0 else hidden, scale=0.5)
            theta[f"optimizer.lstm{layer}.weight_hh"] = normal(4 * hidden, hidden, scale=0.5)
            theta[f"optimizer.lstm{layer}.bias"] = normal(4 * hidden, scale=0.5)
        theta["optimizer.out.weight"] = normal(1, hidden)
        weights = [1 / STEPS] * STEPS
    tasks = two_tasks(shape, head == "learned")
    update = {
        "maml": maml_update,
        "meta_sgd": meta_sgd_update,
        "maml_plus_plus": maml_plus_plus_update,
        "learned_optimizer": learned_update,
    }[kind]
    run = lambda theta, order: [trajectory(net, theta, task, STEPS, order, head, update(theta)) for task in tasks]
    for tensor in theta.values():
        tensor.requires_grad_(True)
    outputs = [after[-1] for after in run(theta, "first")]
    train = lambda theta: [list(zip(weights, after)) for after in run(theta, order)]
    case = {"learner": learner, "backbone": backbone, "outputs": outputs, "progress": progress}
    return case | outer_gradient(theta, tasks, train)


def reptile_case(backbone):
    net, shape, width, theta = network(backbone)
    theta |= head_theta("shared", width)
    for tensor in theta.values():
        tensor.requires_grad_(True)
    tasks = two_tasks(shape, False)
    learner = {"kind": "reptile", "inner_steps": STEPS, "inner_lr": ALPHA, "head_init": {"kind": "shared"}}
    outputs = [trajectory(net, theta, task, STEPS, "first", "shared", maml_update(theta))[-1] for task in tasks]
    return {"learner": learner, "backbone": backbone, "outputs": outputs} | reptile_gradient(net, theta, tasks)


def cavia_case(backbone):
    net, shape, width, theta = network(backbone)
    theta |= head_theta("learned", width)
    places = ["fc0.bias"] if backbone == "mlp" else ["norm2.weight", "norm2.bias"]
    theta |= {"context." + name: normal(len(theta["backbone." + name]), 2, scale=0.5) for name in places}
    tasks = two_tasks(shape, True)
    learner = {"kind": "cavia", "inner_steps": STEPS, "inner_lr": ALPHA, "order": "second", "contexts": 2, "way": 3}
    case = {"learner": learner, "backbone": backbone, "outputs": [cavia(net, theta, task) for task in tasks]}
    return case | outer_gradient(theta, tasks, lambda theta: [[(1.0, cavia(net, theta, task))] for task in tasks])


def closed_form_case(backbone, learner, head, shots):
    net, shape, width, theta = network(backbone)
    if backbone == "conv4":
        theta |= {f"stats.norm{block}.mean": normal(3, scale=0.2) for block in range(4)}
        theta |= {f"stats.norm{block}.var": positive(3) for block in range(4)}
    if learner["kind"] == "r2d2":
        theta |= {name: normal(1, scale=0.5) for name in ("head.log_lambda", "head.log_scale", "head.offset")}
    if learner["kind"] == "anil":
        theta |= {name: tensor.requires_grad_(True) for name, tensor in head_theta("shared", width).items()}
    if learner["kind"] == "known_ridge":
        theta |= {name: normal(1, scale=0.5) for name in ("head.log_lambda", "head.log_scale")}
        theta |= head_theta("learned", width)
    tasks = [episode(shape, shots, 2), episode(shape, [1, 2], 3)]
    if learner["kind"] == "known_ridge":
        tasks[0]["labels"], tasks[1]["labels"] = ["two", "five", "one"], ["nine", "two"]
    run = lambda theta, norm: closed_form(net, theta, tasks, head, norm)
    case = {"learner": learner, "backbone": backbone, "outputs": run(theta, running(theta))}
    return case | outer_gradient(theta, tasks, lambda theta: [[(1.0, out)] for out in run(theta, own_statistics)])


def learners():
    cases = []
    anil_config = {"kind": "anil", "inner_steps": STEPS, "inner_lr": ALPHA, "order": "second", "head_init": {"kind": "shared"}}
    for head, order in [("learned", "second"), ("shared", "first")]:
        cases.append(gradient_case("mlp", "maml", head, order))
    for progress in (0.05, 1.0):
        cases.append(gradient_case("mlp", "maml_plus_plus", progress=progress))
    for backbone in ("mlp", "conv4"):
        cases += [gradient_case(backbone, "maml", head) for head in ("shared", "prototype")]
        cases.append(gradient_case(backbone, "meta_sgd"))
        cases.append(gradient_case(backbone, "maml_plus_plus", progress=0.25))
        cases.append(gradient_case(backbone, "learned_optimizer"))
        cases += [reptile_case(backbone), cavia_case(backbone)]
        cases.append(closed_form_case(backbone, anil_config, anil, [2, 1, 3]))
        # Fewer support rows than features, or more.
        shots = [1, 1, 1] if backbone == "mlp" else [3, 2, 4]
        cases.append(closed_form_case(backbone, {"kind": "protonet"}, protonet, shots))
        cases.append(closed_form_case(backbone, {"kind": "r2d2"}, r2d2, shots))
    cases.append(logistic_case())
    for backbone, shots in [("mlp", [1, 1, 1]), ("conv4", [3, 2, 4])]:
        cases.append(closed_form_case(backbone, {"kind": "known_ridge", "classes": KNOWN}, known_ridge, shots))
    return cases


golden = {"torch": torch.__version__.split("+")[0], "layers": layers(), "adam": adam(), "learners": learners()}
json.dump(plain(golden), sys.stdout, separators=(",", ":"))
sys.stdout.write("\n")
