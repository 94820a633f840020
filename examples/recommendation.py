"""A conversation with a running server: a bookshop orders its shelf for one reader, and again after each purchase.

    imprint keys create bookshop           # prints a key
    imprint serve                          # in another terminal
    python3 examples/recommendation.py --key KEY
"""

import math

from service import connect

#: What the shop sells, and how many of a thousand readers buy each.
SHELF = {
    "crime-1": ("The body in the harbour: a detective story", 90),
    "crime-2": ("Murder at the opera, an inspector's third case", 70),
    "crime-3": ("Cold trail: a retired policeman hunts a killer", 60),
    "space-1": ("Last ship to Europa: humans and machines among the moons of Jupiter", 50),
    "space-2": ("The colony: life on a planet with two suns", 40),
    "space-3": ("Signals from Andromeda: an astronomer hears an alien fleet", 30),
    "cook-1": ("Bread from your own oven: sourdough for beginners", 80),
    "cook-2": ("Forty soups for winter evenings", 60),
    "cook-3": ("The vegetarian kitchen of southern Italy", 50),
    "garden-1": ("A small garden through the year", 40),
    "garden-2": ("Roses: choosing, planting, pruning", 30),
    "travel-1": ("On foot across the Alps", 40),
    "travel-2": ("Night trains of Europe: a traveller's handbook", 30),
}
READERS = 1000


def main():
    call = connect(__doc__)
    def item(name):
        text, sold = SHELF[name]
        return {"text": text, "prior": math.log(sold / READERS)}

    body = {"name": "reader 17", "base_model": "ranking", "settings": {"auto_adapt": True}}
    task = f"/v1/tasks/{call('POST', '/v1/tasks', body)['id']}"
    known = set()

    def tell(what, signals):
        """Sends signals: one call, which returns when the adapter has learned from them."""
        examples = [{"input": item(name), "value": value} for name, value in signals.items()]
        added = call("POST", f"{task}/support", {"examples": examples})
        known.update(signals)
        print(f"{what}: version {added['adaptation']['version']}")

    def show(count=5):
        candidates = [{"id": name, "input": item(name)} for name in SHELF if name not in known]
        ranked = call("POST", f"{task}/rank", {"candidates": candidates, "top_n": count, "nearest": 1})
        for place, found in enumerate(ranked["results"], 1):
            because = found["nearest"][0]
            print(f"  {place}. {SHELF[found['id']][0]}\n     (like “{because['text']}”, which was told at {because['value']:+.0f})")
        print()

    tell("The reader buys a novel about space", {"space-1": 1})
    show()
    tell("The reader buys a book on baking, and sends a crime story back", {"cook-1": 1, "crime-1": -1})
    show()
    tell("The reader looks at two books on gardens, and buys one", {"garden-1": 1, "garden-2": 0.5})
    show()
    call("DELETE", task)


if __name__ == "__main__":
    main()
