"""Makes schedules.json: learning rates and stopping epochs of Keras' own callbacks on given validation losses, and of
PyTorch's cosine schedule.

Run: KERAS_BACKEND=torch python schedules.py > schedules.json      (keras 3, torch 2.15)
"""
import json

import keras
import torch

losses = [0.9, 0.7, 0.72, 0.71, 0.69995, 0.5, 0.55, 0.52, 0.51, 0.53, 0.54, 0.55, 0.49, 0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66]


def model():
    m = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    m.compile(optimizer=keras.optimizers.SGD(1.0))
    return m


def plateau(**settings):
    m, c = model(), keras.callbacks.ReduceLROnPlateau(**settings)
    c.set_model(m)
    c.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        c.on_epoch_end(epoch, {"val_loss": loss})
        rates.append(float(m.optimizer.learning_rate.value))
    return dict(settings=settings, rates=rates)


def stopping(**settings):
    m, c = model(), keras.callbacks.EarlyStopping(**settings)
    m.stop_training = False
    c.set_model(m)
    c.on_train_begin()
    for epoch, loss in enumerate(losses):
        c.on_epoch_end(epoch, {"val_loss": loss})
        if m.stop_training:
            return dict(settings=settings, epochs=epoch + 1)
    return dict(settings=settings, epochs=None)


def cosine(steps, min_lr):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    s = torch.optim.lr_scheduler.CosineAnnealingLR(o, steps, min_lr)
    rates = []
    for _ in range(steps):
        rates.append(s.get_last_lr()[0])
        o.step()
        s.step()
    return rates


print(json.dumps(dict(
    losses=losses,
    plateau=[
        plateau(factor=0.2, patience=2, min_delta=1e-4, cooldown=0, min_lr=1e-6),
        plateau(factor=0.5, patience=1, min_delta=0.0, cooldown=0, min_lr=0.1),
        plateau(factor=0.1, patience=2, min_delta=0.03, cooldown=2, min_lr=0.0),
    ],
    stopping=[
        stopping(patience=4), stopping(patience=2), stopping(patience=3, min_delta=0.05), stopping(patience=30),
    ],
    cosine=cosine(12, 0.1),
)))
