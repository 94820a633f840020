"""A conversation with a running server: a shop teaches it what its customers ask, from four questions each.

    imprint keys create shop               # prints a key
    imprint serve                          # in another terminal
    python3 examples/customer_service.py --key KEY
"""

from service import connect

EXAMPLES = {
    "track_order": ["Where is my parcel?", "My order has not arrived yet", "How can I follow the delivery?", "When will my package come?"],
    "return_item": ["I want to send the shoes back", "How do I return something?", "The jacket does not fit, can I bring it back?", "Where do I get a return label?"],
    "refund_status": ["When do I get my money back?", "You have not paid me back yet", "Is my refund on its way?", "I returned it last week and see no refund"],
    "change_address": ["I have moved, please send it to my new flat", "Can I change the delivery address?", "The street in my order is wrong", "Deliver it to my office instead"],
    "cancel_order": ["Please cancel my order", "I do not want it any more, stop the order", "Can I still call the purchase off?", "I ordered twice by mistake, cancel one"],
    "payment_failed": ["My card was declined", "The payment did not go through", "I cannot pay at the checkout", "Your shop refuses my credit card"],
}
ANSWERS = {
    "track_order": "You can follow your parcel at shop.example/track with the number in our mail.",
    "return_item": "Print a label at shop.example/returns and hand the parcel in at any post office within 30 days.",
    "refund_status": "Refunds reach your account within five days of our receiving the parcel.",
    "change_address": "Until the parcel leaves us, you can change its address under Orders.",
    "cancel_order": "Orders can be called off under Orders until they are packed.",
    "payment_failed": "Please try another card, or pay by invoice; nothing was charged.",
}
QUESTIONS = [
    "has my parcel been sent yet",
    "these boots are too small and I'd like to give them back",
    "the money for the dress I sent back hasn't shown up",
    "oops, typed the wrong house number",
    "Are your wool coats made in Europe?",
]


def main():
    call = connect(__doc__)
    support = [{"input": text, "label": label} for label, texts in EXAMPLES.items() for text in texts]
    body = {"name": "shop", "base_model": "text", "answers": ANSWERS, "support": support}
    task = f"/v1/tasks/{call('POST', '/v1/tasks', body)['id']}"
    adapted = call("POST", f"{task}/adaptations", {})
    quality = call("GET", f"{task}/adapters/{adapted['result']['version']}")["quality"]
    low, high = quality["accuracy_ci95"]
    print(f"Taught from {len(support)} questions. Its own estimate, from holding each of them out: {quality['accuracy']:.0%} of "
          f"others will be understood ({low:.0%} to {high:.0%}).\n")

    body = {"query": QUESTIONS, "abstain": True, "nearest": 1, "store": True}
    predictions = call("POST", f"{task}/predict", body)["predictions"]
    for question, said in zip(QUESTIONS, predictions):
        print(f"> {question}")
        if said.get("abstained"):
            print(f"  (not sure: {said['label']} at {said['confidence']:.0%}) handed on to a person")
        else:
            print(f"  {said['answer']}")
            print(f"  ({said['label']} at {said['confidence']:.0%}; most like “{said['nearest'][0]['text']}”)")
    print()

    question = "can I swap the sweater for a bigger one"
    print(f"> {question}\n  is a question that no label is for. What the shop has that is like it:")
    for hit in call("POST", f"{task}/search", {"query": question, "limit": 3})["data"]:
        print(f"  {hit['similarity']:.2f}  {hit['object']} of {hit['label']}: {hit.get('answer') or hit['text']}")

    call("POST", f"{task}/support", {"examples": [
        {"input": question, "label": "exchange_item"},
        {"input": "I need the same shirt in size L, can you exchange it?", "label": "exchange_item"},
    ]})
    call("PATCH", task, {"answers": ANSWERS | {"exchange_item": "Exchanges are free: order the new size and send the old one back."}})
    call("POST", f"{task}/adaptations", {})
    asked = "could I get these trousers one size up instead"
    said = call("POST", f"{task}/predict", {"query": [asked]})["predictions"][0]
    print(f"\nWith two examples of a new label, a moment later:\n> {asked}\n  {said['answer']}\n  ({said['label']} at {said['confidence']:.0%})")
    call("DELETE", task)


if __name__ == "__main__":
    main()
