"""What people write in Python for the tasks of `benches/meta_training.rs` (second-order MAML, five inner steps) and of
`benches/adaptations.rs` (its inner loop alone, as a server runs it).

    python benches/meta_training/peers.py eager|vmap|higher|jax|jax-map conv4|sinusoid|adapt1|adapt5 [SECONDS [THREADS]]

`eager` is the loop over tasks with `torch.autograd.grad`; `vmap` is `torch.func` over stacked tasks; `higher` is the library
of that name; `jax` is `jit` of `vmap`, `jax-map` `jit` of `lax.map`, one task after another. Each prints one line of JSON.
Query rows are normalised by their own statistics here, which is common, and one pass less than what Imprint does.
"""

import json
import os
import resource
import sys
import time

PEER, BENCH = sys.argv[1], sys.argv[2]
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0
THREADS = int(sys.argv[4]) if len(sys.argv) > 4 else os.cpu_count()
WARM_UP = 3
STEPS = 5
ADAPT = BENCH.startswith("adapt")
CONV = BENCH != "sinusoid"
TASKS, INNER_LR = (16, 0.1) if CONV else (25, 0.001)
SUPPORT, QUERY = (25 if BENCH == "adapt5" else 5, 75) if CONV else (10, 10)

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)


def shapes():
    if not CONV:
        return [(40, 1), (40,), (40, 40), (40,), (1, 40), (1,)]
    blocks, channels = [], 1
    for _ in range(4):
        blocks += [(64, channels, 3, 3), (64,), (64,), (64,)]
        channels = 64
    return [*blocks, (5, 64), (5,)]


def torch_step():
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)

    def network(parameters, x):
        if not CONV:
            for layer in range(0, 4, 2):
                x = F.relu(F.linear(x, parameters[layer], parameters[layer + 1]))
            return F.linear(x, parameters[4], parameters[5])
        for block in range(4):
            weight, bias, scale, shift = parameters[4 * block : 4 * block + 4]
            x = F.conv2d(x, weight, bias, padding=1)
            x = F.batch_norm(x, None, None, scale, shift, training=True)
            x = F.max_pool2d(F.relu(x), 2)
        return F.linear(x.flatten(1), parameters[-2], parameters[-1])

    loss = F.cross_entropy if CONV else F.mse_loss
    scale = [0.05 if len(shape) > 1 else 0.0 for shape in shapes()]
    theta = [(torch.randn(shape) * each).requires_grad_() for shape, each in zip(shapes(), scale)]
    if CONV:
        for block in range(4):
            theta[4 * block + 2].data.fill_(1.0)
    optimizer = torch.optim.Adam(theta, 1e-4)
    row = (1, 28, 28) if CONV else (1,)
    support, query = torch.rand(TASKS, SUPPORT, *row), torch.rand(TASKS, QUERY, *row)
    if CONV:
        support_y = torch.arange(5).repeat_interleave(SUPPORT // 5).expand(TASKS, SUPPORT)
        query_y = torch.arange(5).repeat_interleave(15).expand(TASKS, 75)
    else:
        support_y, query_y = torch.rand(TASKS, SUPPORT, 1), torch.rand(TASKS, QUERY, 1)

    def eager():
        optimizer.zero_grad()
        for task in range(TASKS):
            fast = theta
            for _ in range(STEPS):
                inner = loss(network(fast, support[task]), support_y[task])
                gradients = torch.autograd.grad(inner, fast, create_graph=True)
                fast = [p - INNER_LR * g for p, g in zip(fast, gradients)]
            (loss(network(fast, query[task]), query_y[task]) / TASKS).backward()
        optimizer.step()

    from torch.func import grad, vmap

    def inner(parameters, x, y):
        fast = parameters
        for _ in range(STEPS):
            gradients = grad(lambda p: loss(network(p, x), y))(fast)
            fast = [p - INNER_LR * g for p, g in zip(fast, gradients)]
        return fast

    def of_task(parameters, x, y, qx, qy):
        return loss(network(inner(parameters, x, y), qx), qy)

    def adapt_eagerly():
        for task in range(TASKS):
            fast = theta
            for _ in range(STEPS):
                gradients = torch.autograd.grad(loss(network(fast, support[task]), support_y[task]), fast)
                fast = [(p - INNER_LR * g).detach().requires_grad_() for p, g in zip(fast, gradients)]

    def adapt_stacked():
        with torch.no_grad():
            vmap(inner, in_dims=(None, 0, 0))(theta, support, support_y)

    if ADAPT:
        return {"eager": adapt_eagerly, "vmap": adapt_stacked}[PEER]

    def stacked():
        optimizer.zero_grad()
        vmap(of_task, in_dims=(None, 0, 0, 0, 0))(theta, support, support_y, query, query_y).mean().backward()
        optimizer.step()

    if PEER == "higher":
        import higher

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.p = torch.nn.ParameterList(torch.nn.Parameter(tensor.detach().clone()) for tensor in theta)

            def forward(self, x):
                return network(list(self.p), x)

        net = Net()
        outer = torch.optim.Adam(net.parameters(), 1e-4)
        inner_optimizer = torch.optim.SGD(net.parameters(), INNER_LR)

        def with_higher():
            outer.zero_grad()
            for task in range(TASKS):
                with higher.innerloop_ctx(net, inner_optimizer, copy_initial_weights=False) as (fast, steps):
                    for _ in range(STEPS):
                        steps.step(loss(fast(support[task]), support_y[task]))
                    (loss(fast(query[task]), query_y[task]) / TASKS).backward()
            outer.step()

        return with_higher
    return {"eager": eager, "vmap": stacked}[PEER]


def jax_step():
    flags = f"--xla_cpu_multi_thread_eigen={'true' if THREADS > 1 else 'false'} intra_op_parallelism_threads={THREADS}"
    os.environ["XLA_FLAGS"] = flags
    import jax
    import jax.numpy as jnp
    import optax

    def network(parameters, x):
        if not CONV:
            for layer in range(0, 4, 2):
                x = jax.nn.relu(x @ parameters[layer].T + parameters[layer + 1])
            return x @ parameters[4].T + parameters[5]
        for block in range(4):
            weight, bias, scale, shift = parameters[4 * block : 4 * block + 4]
            x = jax.lax.conv_general_dilated(
                x, weight.transpose(2, 3, 1, 0), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = x + bias
            mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
            x = jax.nn.relu((x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift)
            half = x.shape[1] // 2
            x = x[:, : 2 * half, : 2 * half].reshape(x.shape[0], half, 2, half, 2, -1).max((2, 4))
        return x.reshape(x.shape[0], -1) @ parameters[-2].T + parameters[-1]

    def loss(parameters, x, y):
        outputs = network(parameters, x)
        if CONV:
            return -jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1).mean()
        return ((outputs - y) ** 2).mean()

    def inner(parameters, x, y):
        fast = parameters
        for _ in range(STEPS):
            gradients = jax.grad(loss)(fast, x, y)
            fast = [p - INNER_LR * g for p, g in zip(fast, gradients)]
        return fast

    def of_task(parameters, x, y, qx, qy):
        return loss(inner(parameters, x, y), qx, qy)

    def over_tasks(of_one, parameters, data):
        if PEER == "jax-map":
            return jax.lax.map(lambda one: of_one(parameters, *one), data)
        return jax.vmap(lambda *one: of_one(parameters, *one))(*data)

    def outer(parameters, *data):
        return over_tasks(of_task, parameters, data).mean()

    keys = jax.random.split(jax.random.key(0), 40)
    theta = [
        0.05 * jax.random.normal(key, shape) if len(shape) > 1 else jnp.zeros(shape) for key, shape in zip(keys, shapes())
    ]
    if CONV:
        for block in range(4):
            theta[4 * block + 2] = jnp.ones(64)
    optimizer = optax.adam(1e-4)
    state = optimizer.init(theta)
    row = (28, 28, 1) if CONV else (1,)
    support, query = jax.random.uniform(keys[-1], (TASKS, SUPPORT, *row)), jax.random.uniform(keys[-2], (TASKS, QUERY, *row))
    if CONV:
        support_y = jnp.tile(jnp.repeat(jnp.arange(5), SUPPORT // 5), (TASKS, 1))
        query_y = jnp.tile(jnp.repeat(jnp.arange(5), 15), (TASKS, 1))
    else:
        support_y, query_y = jnp.ones((TASKS, SUPPORT, 1)), jnp.ones((TASKS, QUERY, 1))

    @jax.jit
    def update(theta, state):
        gradients = jax.grad(outer)(theta, support, support_y, query, query_y)
        moved, state = optimizer.update(gradients, state)
        return optax.apply_updates(theta, moved), state

    if ADAPT:
        adapt = jax.jit(lambda *data: over_tasks(inner, theta, data))
        return lambda: jax.block_until_ready(adapt(support, support_y))

    kept = {"theta": theta, "state": state}

    def step():
        kept["theta"], kept["state"] = update(kept["theta"], kept["state"])
        jax.block_until_ready(kept["theta"])

    return step


step = jax_step() if PEER.startswith("jax") else torch_step()
for _ in range(WARM_UP):
    step()
begun, steps = time.perf_counter(), 0
while time.perf_counter() - begun < SECONDS or steps == 0:
    step()
    steps += 1
rate = steps * TASKS / (time.perf_counter() - begun)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peer": PEER, "bench": BENCH, "threads": THREADS, "tasks_per_second": rate, "peak_mib": peak}))
