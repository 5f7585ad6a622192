"""The way of a whole message: routing, evidence, policy, stamp, inbound, submission, queue, scheduler, bounce.

Refuses to know SMTP: the outbound agent implements `delivery.types.DeliveryAgent` and `beffroi.wiring` joins them.
"""
