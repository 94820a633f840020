"""A conversation with a running server: reviews come in, and somebody is told when they turn.

    imprint keys create maker              # prints a key
    imprint serve                          # in another terminal
    python3 examples/sentiment_alert.py --key KEY

The stream is a replay with a planted surge: one review in eight is bad, then, for a while, five in eight.
"""

import random

from service import connect

EXAMPLES = {
    "good": ["Best coffee machine I ever had", "Works like a charm and looks great", "My whole family loves it", "Quick, quiet, worth every cent", "Very happy with this purchase", "The espresso is wonderful", "Love the milk foam, perfect every time", "Excellent value, would buy it again"],
    "bad": ["It broke after two weeks", "Leaks all over the kitchen, awful", "Waste of money, do not buy", "The pump died and support never answered", "I am very disappointed", "Loud, slow, and the coffee is cold", "Horrible, I sent it back", "The handle snapped off, terrible quality"],
    "mixed": ["It makes coffee, nothing special", "It is as described", "Good taste but hard to clean", "Arrived on Tuesday, have not tried it yet", "Neither great nor terrible", "Fine for the office", "The lid is okay", "An average machine at an average price", "Does what you would expect"],
}
STREAM = {
    "good": ["Love the {thing}, five stars", "The {thing} is excellent", "Could not be happier with the {thing}", "A fantastic machine with a lovely {thing}"],
    "bad": ["The {thing} stopped working after a month", "Terrible {thing}, I want a refund", "The {thing} is broken and nobody helps", "Horrible quality, the {thing} fell apart"],
    "mixed": ["The {thing} is okay", "Average {thing}, average price", "The {thing} is what you would expect", "No opinion on the {thing} yet"],
}
THINGS = ["grinder", "milk frother", "water tank", "display", "timer", "drip tray", "lid", "filter"]


def main():
    call = connect(__doc__)
    support = [{"input": text, "label": label} for label, texts in EXAMPLES.items() for text in texts]
    task = f"/v1/tasks/{call('POST', '/v1/tasks', {'name': 'reviews', 'base_model': 'text', 'support': support})['id']}"
    call("POST", f"{task}/adaptations", {})
    rule = {"label": "bad", "ratio": 4, "false_alarm_every": 1000, "window": 100}
    monitor = call("POST", f"{task}/monitors", rule)
    place = f"/v1/monitors/{monitor['id']}"

    rng, right, count = random.Random(4), 0, 0
    for share, length in [(1 / 8, 200), (5 / 8, 80), (1 / 8, 160)]:
        print(f"review {count + 1}: from here on {share:.0%} are bad")
        for _ in range(0, length, 4):
            kinds = ["bad" if rng.random() < share else rng.choice(["good", "mixed"]) for _ in range(4)]
            texts = [rng.choice(STREAM[kind]).format(thing=rng.choice(THINGS)) for kind in kinds]
            predictions = call("POST", f"{task}/predict", {"query": texts})["predictions"]
            right += sum(said["label"] == kind for said, kind in zip(predictions, kinds))
            count += 4
            if count == rule["window"]:
                monitor = call("GET", place)
                print(f"review {count}: usually, as far as {count} reviews say, {monitor['baseline']:.0%} at most are bad; a rise to "
                      f"{monitor['alert_share']:.0%}\n  is to be told within about {monitor['expected_delay']:.0f} reviews, "
                      f"with one false alarm in {rule['false_alarm_every']} at most")
    print(f"\n{right / count:.0%} of {count} reviews were understood. What the monitor saw:")
    for event in reversed(call("GET", f"{place}/events")["data"]):
        print(f"review {event['seen']}: {event['change']}, {event['share']:.0%} of the last {monitor['window']} are bad")
    call("DELETE", task)


if __name__ == "__main__":
    main()
