"""Tencent VOD AIGC, pictures by models of several makers: client, answers, codes and the rules of each model."""
